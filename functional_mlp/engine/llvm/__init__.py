"""LLVM vectors: an assembler, the array algebra and its functions, processors and machine code."""
