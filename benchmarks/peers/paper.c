/* The paper's network, 2-25-25-25-2 with ReLU, ReLU and tanh, under the mean squared error: the peer "c" of epochs.py.

   It is written as one would by hand for sizes that are known: BATCH is the batch size, BETA that of momentum, or 0.
   Weights lie input by input, each row with the outputs side by side, so that the compiler makes vectors of them. */

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { INPUTS = 2, UNITS = 25, OUTPUTS = 2 };
enum {
    FIRST = 0,
    SECOND = FIRST + (INPUTS + 1) * UNITS,
    THIRD = SECOND + (UNITS + 1) * UNITS,
    LAST = THIRD + (UNITS + 1) * UNITS,
    PARAMETERS = LAST + (UNITS + 1) * OUTPUTS,
};

#define INLINE static inline __attribute__((always_inline))

/* s = w x + b; the biases are the row after those of the inputs. */
INLINE void forward(int inputs, int outputs, const float *w, const float *x, float *s)
{
    for (int j = 0; j < outputs; j++)
        s[j] = w[inputs * outputs + j];
    for (int i = 0; i < inputs; i++)
        for (int j = 0; j < outputs; j++)
            s[j] += w[i * outputs + j] * x[i];
}

/* The gradient of x, where it is wanted, and that of the parameters: added up, or applied at once. */
INLINE void backward(int inputs, int outputs, float *w, float *gradient, const float *x, const float *delta, float *grad_x,
                     float rate)
{
    for (int i = 0; i <= inputs; i++) {
        float sum = 0, factor = i < inputs ? x[i] : 1;
        for (int j = 0; j < outputs; j++) {
            if (grad_x && i < inputs)
                sum += w[i * outputs + j] * delta[j];
            if (BATCH == 1 && BETA == 0.0)
                w[i * outputs + j] -= rate * factor * delta[j];
            else
                gradient[i * outputs + j] += factor * delta[j];
        }
        if (grad_x && i < inputs)
            grad_x[i] = sum;
    }
}

/* One epoch over `n` rows in an order; returns the mean loss, each sample's right before its batch's update. */
double epoch(float *w, float *velocity, const float *inputs, const float *targets, const int64_t *order, int64_t n,
             float rate)
{
    double losses = 0;
    float gradient[PARAMETERS] = {0};
    for (int64_t start = 0; start < n; start += BATCH) {
        int64_t end = start + BATCH < n ? start + BATCH : n;
        for (int64_t place = start; place < end; place++) {
            const float *x = inputs + INPUTS * order[place], *t = targets + OUTPUTS * order[place];
            float a[UNITS], b[UNITS], c[UNITS], y[OUTPUTS], delta[OUTPUTS], of_c[UNITS], of_b[UNITS], of_a[UNITS];
            forward(INPUTS, UNITS, w + FIRST, x, a);
            for (int j = 0; j < UNITS; j++)
                a[j] = a[j] > 0 ? a[j] : 0;
            forward(UNITS, UNITS, w + SECOND, a, b);
            for (int j = 0; j < UNITS; j++)
                b[j] = b[j] > 0 ? b[j] : 0;
            forward(UNITS, UNITS, w + THIRD, b, c);
            for (int j = 0; j < UNITS; j++)
                c[j] = tanhf(c[j]);
            forward(UNITS, OUTPUTS, w + LAST, c, y);
            float loss = 0;
            for (int j = 0; j < OUTPUTS; j++) {
                float error = y[j] - t[j];
                loss += error * error / OUTPUTS;
                delta[j] = 2 * error / OUTPUTS / (end - start);
            }
            losses += loss;
            backward(UNITS, OUTPUTS, w + LAST, gradient + LAST, c, delta, of_c, rate);
            for (int j = 0; j < UNITS; j++)
                of_c[j] *= 1 - c[j] * c[j];
            backward(UNITS, UNITS, w + THIRD, gradient + THIRD, b, of_c, of_b, rate);
            for (int j = 0; j < UNITS; j++)
                of_b[j] = b[j] > 0 ? of_b[j] : 0;
            backward(UNITS, UNITS, w + SECOND, gradient + SECOND, a, of_b, of_a, rate);
            for (int j = 0; j < UNITS; j++)
                of_a[j] = a[j] > 0 ? of_a[j] : 0;
            backward(INPUTS, UNITS, w + FIRST, gradient + FIRST, x, of_a, 0, rate);
        }
        if (BATCH > 1 || BETA != 0.0) {
            for (int k = 0; k < PARAMETERS; k++) {
                velocity[k] = (float)BETA * velocity[k] + (float)(1 - BETA) * gradient[k];
                w[k] -= rate * velocity[k];
            }
            memset(gradient, 0, sizeof gradient);
        }
    }
    return losses / n;
}

/* Fisher and Yates' shuffle by splitmix64 (Steele, Lea and Flood, 2014). */
void shuffle(int64_t *order, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t z = (seed += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        int64_t j = (int64_t)(((unsigned __int128)(z ^ (z >> 31)) * (uint64_t)(i + 1)) >> 64);
        order[i] = order[j];
        order[j] = i;
    }
}

/* Epochs in new orders, or in those that are given, one after the other. */
void train(float *w, float *velocity, const float *inputs, const float *targets, int64_t *order, const int64_t *orders,
           int64_t n, int64_t epochs, float rate, double *losses)
{
    for (int64_t e = 0; e < epochs; e++) {
        if (!orders)
            shuffle(order, n, (uint64_t)e << 40);
        losses[e] = epoch(w, velocity, inputs, targets, orders ? orders + e * n : order, n, rate);
    }
}
