"""Loops over one-hot DNA; borzoi_rt/sequence.py says what they mean and judges the arguments."""


def encode(const unsigned char[::1] letters, unsigned char[:, ::1] out):
    """Write the four rows of one-hot DNA; every letter but ACGTacgt gives a zero column."""
    cdef Py_ssize_t p, n = letters.shape[0]
    cdef unsigned char letter
    with nogil:
        for p in range(n):
            # 0xDF clears the bit that tells lower from upper case.
            letter = letters[p] & 0xDF
            out[0, p] = letter == 65
            out[1, p] = letter == 67
            out[2, p] = letter == 71
            out[3, p] = letter == 84


def decode(const unsigned char[:, ::1] onehot, unsigned char[::1] out):
    """Write one letter a column: 78 (N) plus the difference to the letter of the row that is set."""
    cdef Py_ssize_t p, n = onehot.shape[1]
    with nogil:
        for p in range(n):
            out[p] = <unsigned char>(78 - 13 * onehot[0, p] - 11 * onehot[1, p] - 7 * onehot[2, p] + 6 * onehot[3, p])


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
