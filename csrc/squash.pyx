"""Loops of the squashed scale; borzoi_rt/squash.py says what they mean and judges the arguments."""

cdef extern from *:
    """
    #include <math.h>
    #include <stdint.h>
    #include <string.h>

    /* One binary for every x86-64: the widest vectors the machine has are chosen when the module loads. */
    #if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
    #define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
    #else
    #define WIDE
    #endif
    #define INLINE static inline __attribute__((always_inline))

    /* A third of the exponent is 4 % off; each Halley step cubes the error. libm's cbrtf does not vectorise. */
    INLINE float cube_root(float x) {
        uint32_t bits;
        float y, cube, inside;
        memcpy(&bits, &x, 4);
        bits = bits / 3 + 0x2a514067u;
        memcpy(&y, &bits, 4);
        cube = y * y * y;
        y *= (cube + 2.0f * x) / (2.0f * cube + x);
        cube = y * y * y;
        y *= (cube + 2.0f * x) / (2.0f * cube + x);
        inside = x > 1e-30f ? y : 0.0f;
        inside = x >= 0.0f ? inside : NAN;
        /* Beyond 1e38 the sums above overflow; the fourth power of the root does so in any case, to infinity. */
        return x <= 1e38f ? inside : x;
    }

    INLINE float three_quarters(float x) {
        float root = sqrtf(x);
        return root * sqrtf(root);
    }

    INLINE float power_inverse(float v, int mode) {
        if (mode == 1) return v * cube_root(v);
        if (mode == 2) return v * (v + 2.0f);
        if (mode == 3) return (v + 1.0f) * cube_root(v + 1.0f) - 1.0f;
        return v;
    }

    INLINE float power_slope(float v, int mode) {
        if (mode == 1) return (4.0f / 3.0f) * cube_root(v);
        if (mode == 2) return 2.0f * (v + 1.0f);
        if (mode == 3) return (4.0f / 3.0f) * cube_root(v + 1.0f);
        return 1.0f;
    }

    INLINE float power_forward(float x, int mode) {
        if (mode == 1) return three_quarters(x);
        if (mode == 2) return x <= 3.4e38f ? x / (sqrtf(1.0f + x) + 1.0f) : x;
        if (mode == 3) return three_quarters(1.0f + x) - 1.0f;
        return x;
    }

    #define LOOP(BODY, MODE) for (i = 0; i < n; i++) { const int mode = MODE; BODY }
    #define BY_MODE(BODY) \\
        switch (power) { \\
            case 1: LOOP(BODY, 1) break; \\
            case 2: LOOP(BODY, 2) break; \\
            case 3: LOOP(BODY, 3) break; \\
            default: LOOP(BODY, 0) \\
        }

    WIDE static void inverse_row(
        float *z, Py_ssize_t n, float divisor, float knee, float offset, int power, float factor) {
        Py_ssize_t i;
        BY_MODE({
            float u = z[i] / divisor;
            float above = u - knee + offset;
            float v = u > knee ? above * above + (knee - offset) : u;
            z[i] = power_inverse(v, mode) * factor;
        })
    }

    WIDE static void slope_row(
        float *z, Py_ssize_t n, float divisor, float knee, float offset, int power, float factor) {
        const float outer = factor / divisor;
        Py_ssize_t i;
        BY_MODE({
            float u = z[i] / divisor;
            float above = u - knee + offset;
            float v = u > knee ? above * above + (knee - offset) : u;
            float bend = u > knee ? 2.0f * above : 1.0f;
            float slope = bend * power_slope(v, mode) * outer;
            z[i] = u == u ? slope : u;
        })
    }

    WIDE static void forward_row(
        float *y, Py_ssize_t n, float before, float knee, float offset, float limit, int power, float after) {
        Py_ssize_t i;
        BY_MODE({
            float w = power_forward(y[i] * before, mode);
            float bent = (knee - offset) + sqrtf(w - knee + offset);
            w = w > knee ? bent : w;
            w = w > limit ? limit : w;
            w = w < -limit ? -limit : w;
            y[i] = w * after;
        })
    }
    """
    void inverse_row(float *z, Py_ssize_t n, float divisor, float knee, float offset, int power, float factor) noexcept nogil
    void slope_row(float *z, Py_ssize_t n, float divisor, float knee, float offset, int power, float factor) noexcept nogil
    void forward_row(float *y, Py_ssize_t n, float before, float knee, float offset, float limit, int power, float after) noexcept nogil


def inverse(float[:, :, ::1] z, const float[::1] divisor, const float[::1] knee, float offset,
            const int[::1] power, const float[::1] factor):
    """Undo the squash in place: u = z / divisor, v = unclip(u), z = power(v) * factor."""
    cdef Py_ssize_t i, t
    with nogil:
        for i in range(z.shape[0]):
            for t in range(z.shape[1]):
                inverse_row(&z[i, t, 0], z.shape[2], divisor[t], knee[t], offset, power[t], factor[t])


def slope(float[:, :, ::1] z, const float[::1] divisor, const float[::1] knee, float offset,
          const int[::1] power, const float[::1] factor):
    """Replace squashed values by the derivative of the inverse there, in place."""
    cdef Py_ssize_t i, t
    with nogil:
        for i in range(z.shape[0]):
            for t in range(z.shape[1]):
                slope_row(&z[i, t, 0], z.shape[2], divisor[t], knee[t], offset, power[t], factor[t])


def forward(float[:, :, ::1] y, const float[::1] before, const float[::1] knee, float offset,
            const float[::1] limit, const int[::1] power, const float[::1] after):
    """Squash binned coverage in place: w = power(y * before), soft clip, hard clip, y = w * after."""
    cdef Py_ssize_t i, t
    with nogil:
        for i in range(y.shape[0]):
            for t in range(y.shape[1]):
                forward_row(&y[i, t, 0], y.shape[2], before[t], knee[t], offset, limit[t], power[t], after[t])
