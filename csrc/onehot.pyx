"""Loops over one-hot DNA; borzoi_rt/sequence.py says what they mean and judges the arguments."""

cdef extern from *:
    """
    #include <stdint.h>

    /* One binary for every x86-64: the widest vectors the machine has are chosen when the module loads (needs glibc). */
    #if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
    #define WIDE __attribute__((target_clones("avx2", "default")))
    #else
    #define WIDE
    #endif

    WIDE static void encode_letters(const uint8_t *restrict letters, Py_ssize_t n, uint8_t *restrict out) {
        for (Py_ssize_t p = 0; p < n; p++) {
            const uint8_t upper = letters[p] & 0xDF; /* clears the bit that tells lower from upper case */
            out[p] = upper == 'A';
            out[p + n] = upper == 'C';
            out[p + 2 * n] = upper == 'G';
            out[p + 3 * n] = upper == 'T';
        }
    }

    WIDE static int decode_letters(const uint8_t *restrict onehot, Py_ssize_t n, uint8_t *restrict out) {
        uint8_t wrong = 0;
        for (Py_ssize_t p = 0; p < n; p++) {
            const uint8_t a = onehot[p], c = onehot[p + n], g = onehot[p + 2 * n], t = onehot[p + 3 * n];
            /* Any value above 1 shows in the OR; where there is none, the sum cannot wrap and shows a second 1. */
            wrong |= a | c | g | t | (uint8_t)(a + c + g + t);
            out[p] = (uint8_t)('N' - ('N' - 'A') * a - ('N' - 'C') * c - ('N' - 'G') * g + ('T' - 'N') * t);
        }
        return wrong & 0xFE;
    }

    WIDE static void reverse_bytes(const uint8_t *restrict from, Py_ssize_t n, uint8_t *restrict to) {
        for (Py_ssize_t p = 0; p < n; p++)
            to[p] = from[n - 1 - p];
    }
    """
    void encode_letters(const unsigned char *letters, Py_ssize_t n, unsigned char *out) noexcept nogil
    int decode_letters(const unsigned char *onehot, Py_ssize_t n, unsigned char *out) noexcept nogil
    void reverse_bytes(const unsigned char *source, Py_ssize_t n, unsigned char *target) noexcept nogil


def encode(const unsigned char[::1] letters, unsigned char[:, ::1] out):
    """Write the four rows of one-hot DNA; every byte but ACGTacgt gives a zero column."""
    with nogil:
        encode_letters(&letters[0], letters.shape[0], &out[0, 0])


def decode(const unsigned char[:, ::1] onehot, unsigned char[::1] out):
    """Write one letter a column; the answer is not 0 where some column was not one-hot."""
    cdef int wrong
    with nogil:
        wrong = decode_letters(&onehot[0, 0], onehot.shape[1], &out[0])
    return wrong


def reverse_complement(const unsigned char[:, ::1] onehot, unsigned char[:, ::1] out):
    """Write each array of 4 * length bytes backwards: that swaps A with T and C with G as well."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(onehot.shape[0]):
            reverse_bytes(&onehot[i, 0], onehot.shape[1], &out[i, 0])


def edit(unsigned char[:, :, ::1] batch, const unsigned char[:, ::1] reference,
         const Py_ssize_t[::1] restore, const Py_ssize_t[::1] position, const unsigned char[::1] alt):
    """Turn each row into the reference with one base replaced: restore one column, set another."""
    cdef Py_ssize_t i, base
    with nogil:
        for i in range(position.shape[0]):
            for base in range(4):
                batch[i, base, restore[i]] = reference[base, restore[i]]
            for base in range(4):
                batch[i, base, position[i]] = base == alt[i]
