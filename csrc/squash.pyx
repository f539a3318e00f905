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

    /* Within half a step of float32 and never decreasing. libm's cbrtf does not vectorise. A third of the exponent is
       4 % off, and a Halley step cubes the error. The root is then cut to 8 bits, so that its cube is exact in float32,
       and so is the rest; a series of the rest gives the other bits. 2e-38 keeps 0 from 0 / 0. */
    INLINE float cube_root(float x) {
        uint32_t bits;
        float root, cube, rest;
        memcpy(&bits, &x, 4);
        bits = (bits & 0x7fffffffu) / 3 + 0x2a514067u;
        memcpy(&root, &bits, 4);
        cube = root * root * root;
        root *= (cube + 2.0f * x) / (2.0f * cube + x + 2e-38f);
        memcpy(&bits, &root, 4);
        bits = (bits + 0x8000u) & 0xffff0000u;
        memcpy(&root, &bits, 4);
        cube = root * root * root;
        rest = (x - cube) / (cube + 2e-38f);
        return root + root * (rest * (1.0f / 3.0f - rest * (1.0f / 9.0f - rest * (5.0f / 81.0f))));
    }

    /* The cube root overflows beyond 1e37, where its use is infinite in any case; of a negative number there is none. */
    INLINE float rooted(float value, float x) {
        value = x < 1e37f ? value : x * x;
        return x >= 0.0f ? value : NAN;
    }

    /* No difference of nearly equal numbers: with c = (v + 1)^(1/3), c^4 - 1 = (c^3 - 1)(c + 1 / (c^2 + c + 1)), and
       c^3 - 1 is v itself. */
    INLINE float power_inverse(float v, int mode) {
        if (mode == 1) return rooted(v * cube_root(v), v);
        if (mode == 2) return v * (v + 2.0f);
        if (mode == 3) {
            float c = cube_root(v + 1.0f);
            return rooted(v * (c + 1.0f / (c * (c + 1.0f) + 1.0f)), v + 1.0f);
        }
        return v;
    }

    INLINE float root_slope(float x) {
        float root = cube_root(x);
        return (4.0f / 3.0f) * rooted(x > 1e-36f ? root : 0.0f, x);
    }

    INLINE float power_slope(float v, int mode) {
        if (mode == 1) return root_slope(v);
        if (mode == 2) return 2.0f * (v + 1.0f);
        if (mode == 3) return root_slope(v + 1.0f);
        return 1.0f;
    }

    /* With s = (1 + x)^(1/2) and q = s^(1/2): s - 1 = x / (s + 1), q^3 - 1 = x (q^2 + q + 1) / ((q + 1)(q^2 + 1)). */
    INLINE double power_forward(double x, int mode) {
        double s = sqrt(mode == 1 ? x : 1.0 + x);
        double q = sqrt(s);
        double value = mode == 2 ? x / (s + 1.0) : x * ((s + q + 1.0) / ((q + 1.0) * (s + 1.0)));
        if (mode == 0) return x;
        if (mode == 1) return s * q;
        return x < 1e300 ? value : x;
    }

    #define LOOP(BODY, MODE) for (i = 0; i < n; i++) { const int mode = MODE; BODY }
    #define BY_MODE(BODY) \\
        switch (power) { \\
            case 1: LOOP(BODY, 1) break; \\
            case 2: LOOP(BODY, 2) break; \\
            case 3: LOOP(BODY, 3) break; \\
            default: LOOP(BODY, 0) \\
        }

    /* In double: half a step of float32 below the soft clip would become up to 10 steps above it. */
    #define UNCLIPPED \\
        const double below = p * per; \\
        const double above = below - base; \\
        const float v = (float)(p > turn ? above * above + base : below);

    WIDE static void inverse_row(
        float *z, Py_ssize_t n, float divisor, float knee, float offset, int power, float factor) {
        const double per = 1.0 / divisor, turn = (double)knee * divisor, base = (double)knee - offset;
        Py_ssize_t i;
        BY_MODE({
            const double p = z[i];
            UNCLIPPED
            z[i] = power_inverse(v, mode) * factor;
        })
    }

    WIDE static void slope_row(
        float *z, Py_ssize_t n, float divisor, float knee, float offset, int power, float factor) {
        const double per = 1.0 / divisor, turn = (double)knee * divisor, base = (double)knee - offset;
        const float outer = factor / divisor;
        Py_ssize_t i;
        BY_MODE({
            const double p = z[i];
            UNCLIPPED
            float bend = (float)(p > turn ? 2.0 * above : 1.0);
            float slope = bend * power_slope(v, mode) * outer;
            z[i] = z[i] == z[i] ? slope : z[i];
        })
    }

    /* In double: half a step of float32 before the soft clip would become up to 100 steps just above the knee. */
    WIDE static void forward_row(
        float *y, Py_ssize_t n, float before, float knee, float offset, float limit, int power, float after) {
        const double base = (double)knee - offset, scale = before;
        Py_ssize_t i;
        BY_MODE({
            double exact = power_forward(y[i] * scale, mode);
            float bent = (float)(base + sqrtf((float)(exact - base)));
            float w = exact > knee ? bent : (float)exact;
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
