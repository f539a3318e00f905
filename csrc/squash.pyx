"""Loops of the squashed scale; borzoi_rt/squash.py says what they mean and judges the arguments."""

cdef extern from *:
    """
    #include <float.h>
    #include <math.h>
    #include <stdint.h>
    #include <string.h>

    /* One binary for every x86-64: the widest vectors the machine has are chosen when the module loads (needs glibc). */
    #if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
    #define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
    #else
    #define WIDE
    #endif
    #define INLINE static inline __attribute__((always_inline))

    /* libm's cbrtf does not vectorise. A third of the exponent is 4 % off, and each Halley step cubes the error:
       y (y^3 + 2x) / (2y^3 + x), here with x / 4 so that nothing overflows. Denormal x gives 0, negative x NaN. */
    INLINE float cube_root(float x) {
        const float quarter = 0.25f * x;
        uint32_t bits;
        float y, cube, root;
        memcpy(&bits, &x, 4);
        bits = bits / 3 + 0x2a514067u;
        memcpy(&y, &bits, 4);
        cube = 0.25f * y * y * y;
        y *= (cube + 2.0f * quarter) / (2.0f * cube + quarter);
        cube = 0.25f * y * y * y;
        y *= (cube + 2.0f * quarter) / (2.0f * cube + quarter);
        root = x > 4.0f * FLT_MIN ? y : 0.0f;
        root = x >= 0.0f ? root : NAN;
        return x <= FLT_MAX ? root : x; /* infinity, and NaN */
    }

    INLINE float power_inverse(float v, int power) {
        float root;
        switch (power) {
            case 1: return v * cube_root(v);
            case 2: return v * (v + 2.0f); /* (v + 1)^2 - 1 without its cancellation */
            case 3: /* (v + 1)^(4/3) - 1 likewise: c^4 - 1 = (c^3 - 1) (c + 1 / (c^2 + c + 1)) and c^3 - 1 = v */
                root = cube_root(v + 1.0f);
                return v * (root + 1.0f / (root * root + root + 1.0f));
            default: return v;
        }
    }

    INLINE float power_slope(float v, int power) {
        switch (power) {
            case 1: return (4.0f / 3.0f) * cube_root(v);
            case 2: return 2.0f * (v + 1.0f);
            case 3: return (4.0f / 3.0f) * cube_root(v + 1.0f);
            default: return 1.0f;
        }
    }

    INLINE double power_forward(double y, int power) {
        double root;
        switch (power) {
            case 1: root = sqrt(y); return root * sqrt(root);
            case 2: return sqrt(1.0 + y) - 1.0;
            case 3: root = sqrt(1.0 + y); return root * sqrt(root) - 1.0;
            default: return y;
        }
    }

    /* The case is chosen outside the loop, so that each loop has no branch and vectorises. */
    #define LOOP(POWER, BODY) for (Py_ssize_t i = 0; i < n; i++) { enum { power = POWER }; BODY }
    #define BY_POWER(BODY) \\
        switch (track_power) { \\
            case 1: LOOP(1, BODY) break; \\
            case 2: LOOP(2, BODY) break; \\
            case 3: LOOP(3, BODY) break; \\
            default: LOOP(0, BODY) \\
        }

    /* knee * divisor is exact in double, and so is the side of the knee; the slope of the old kind is 0 just above. */
    #define UNCLIP \\
        const int over = z[i] > knee_at; \\
        const float distance = (float)(z[i] - knee_at); \\
        const float u = (over ? distance : z[i]) / divisor; \\
        const float above = u + offset; \\
        const float v = over ? above * above + base : u;

    WIDE static void inverse_row(float *z, Py_ssize_t n, float divisor, float knee, float offset,
                                 int track_power, float factor) {
        const double knee_at = (double)knee * divisor;
        const float base = knee - offset;
        BY_POWER(UNCLIP z[i] = power_inverse(v, power) * factor;)
    }

    WIDE static void slope_row(float *z, Py_ssize_t n, float divisor, float knee, float offset,
                               int track_power, float factor) {
        const double knee_at = (double)knee * divisor;
        const float base = knee - offset, outer = factor / divisor;
        BY_POWER(
            UNCLIP
            const float slope = (over ? 2.0f * above : 1.0f) * power_slope(v, power) * outer;
            z[i] = u == u ? slope : u; /* NaN stays */
        )
    }

    /* In double: the square root just above the knee magnifies a rounding of y^(3/4) beyond float32. */
    WIDE static void forward_row(float *y, Py_ssize_t n, double before, double knee, double offset, double limit,
                                 int track_power, double after) {
        const double base = knee - offset;
        BY_POWER(
            double w = power_forward(y[i] * before, power);
            const double bent = base + sqrt(w - base);
            w = w > knee ? bent : w;
            w = w > limit ? limit : w;
            w = w < -limit ? -limit : w;
            y[i] = (float)(w * after);
        )
    }
    """
    void inverse_row(float *z, Py_ssize_t n, float divisor, float knee, float offset,
                     int power, float factor) noexcept nogil
    void slope_row(float *z, Py_ssize_t n, float divisor, float knee, float offset,
                   int power, float factor) noexcept nogil
    void forward_row(float *y, Py_ssize_t n, double before, double knee, double offset, double limit,
                     int power, double after) noexcept nogil


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
