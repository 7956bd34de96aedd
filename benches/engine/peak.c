// What this machine can do at most: multiply-adds in the three number formats, and reading memory.
//
//     cc -O3 -march=native -pthread peak.c -o peak && ./peak THREADS
//
// The inner loop of a matrix product, with a tile of results in registers and both panels in the first cache, so that
// nothing but arithmetic holds it up. Prints one JSON line: f32, bf16 and int8 in 10^9 operations a second (a
// multiplication and an addition are two), read in 10^9 bytes a second. A format that the processor has no dot product for
// is left out.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { WIDTH = 64, ROWS = 12 };
#elif defined(__AVX__)
enum { WIDTH = 32, ROWS = 6 };
#else
enum { WIDTH = 16, ROWS = 6 };
#endif

// Steps along the summed dimension: both panels fit into 32 KiB.
enum { DEPTH = 128, COLUMNS = 2, LANES = WIDTH / 4 };
static const double SECONDS = 0.5;

typedef float floats __attribute__((vector_size(WIDTH)));
typedef int32_t ints __attribute__((vector_size(WIDTH)));

// `left` holds one 32-bit word a row and step, `right` two vectors a step; each step adds an outer product to the tile.
#define PRODUCT(NAME, VECTOR, SPREAD, DOT)                                                        \
    static void NAME(const int32_t *left, const ints *right, ints *tile) {                       \
        VECTOR sums[ROWS][COLUMNS];                                                              \
        memcpy(sums, tile, sizeof sums);                                                         \
        for (int step = 0; step < DEPTH; step++) {                                               \
            VECTOR first = (VECTOR)right[2 * step], second = (VECTOR)right[2 * step + 1];        \
            _Pragma("GCC unroll 12") for (int row = 0; row < ROWS; row++) {                      \
                VECTOR spread = SPREAD(left[step * ROWS + row]);                                 \
                sums[row][0] = DOT(sums[row][0], spread, first);                                 \
                sums[row][1] = DOT(sums[row][1], spread, second);                                \
            }                                                                                    \
        }                                                                                        \
        memcpy(tile, sums, sizeof sums);                                                         \
    }

static inline floats spread_float(int32_t word) {
    float value;
    memcpy(&value, &word, 4);
    return value - (floats){0};
}
#define ADD_PRODUCT(sum, a, b) ((sum) + (a) * (b))
PRODUCT(product_f32, floats, spread_float, ADD_PRODUCT)

static inline ints spread_int(int32_t word) { return (ints){0} + word; }

#if defined(__AVX512BF16__)
#define HAVE_BF16 1
#define DOT_BF16(sum, a, b) (floats) _mm512_dpbf16_ps((__m512)(sum), (__m512bh)(a), (__m512bh)(b))
static inline floats spread_pair(int32_t word) { return (floats)spread_int(word); }
PRODUCT(product_bf16, floats, spread_pair, DOT_BF16)
#endif

#if defined(__AVX512VNNI__)
#define HAVE_INT8 1
#define DOT_INT8(sum, a, b) (ints) _mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(a), (__m512i)(b))
PRODUCT(product_int8, ints, spread_int, DOT_INT8)
#elif defined(__AVX2__)
// Without a dot product instruction: pairs, then pairs of pairs, then the sum.
#define HAVE_INT8 1
static inline ints dot_int8(ints sum, ints a, ints b) {
    __m256i pairs = _mm256_maddubs_epi16((__m256i)a, (__m256i)b);
    return sum + (ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
PRODUCT(product_int8, ints, spread_int, dot_int8)
#endif

typedef void (*Product)(const int32_t *, const ints *, ints *);

typedef struct {
    Product product;     // NULL reads memory instead
    const char *memory;
    size_t bytes;
    pthread_barrier_t *start;
    double done;         // calls of `product`, or bytes read
    double seconds;
    int32_t kept;        // so that the compiler leaves the work in
} Work;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

static int32_t read_all(const char *memory, size_t bytes) {
    ints sums[8] = {0};
    for (size_t at = 0; at + sizeof sums <= bytes; at += sizeof sums)
        for (int i = 0; i < 8; i++) sums[i] ^= ((const ints *)(memory + at))[i];
    for (int i = 1; i < 8; i++) sums[0] ^= sums[i];
    return sums[0][0];
}

static void *run(void *argument) {
    Work *work = argument;
    int32_t left[DEPTH * ROWS] = {0};
    static const ints zeros[DEPTH * COLUMNS];
    ints right[DEPTH * COLUMNS], tile[ROWS * COLUMNS] = {0};
    memcpy(right, zeros, sizeof right);
    pthread_barrier_wait(work->start);
    double started = now();
    do {
        if (work->product) {
            for (int i = 0; i < 1000; i++) work->product(left, right, tile);
            work->done += 1000;
        } else {
            work->kept ^= read_all(work->memory, work->bytes);
            work->done += work->bytes;
        }
        work->seconds = now() - started;
    } while (work->seconds < SECONDS);
    work->kept ^= tile[0][0];
    return NULL;
}

// Done by all threads together, a second; the best of three turns.
static double rate(int threads, Product product, const char *memory, size_t bytes) {
    double best = 0;
    for (int turn = 0; turn < 3; turn++) {
        pthread_barrier_t start;
        pthread_barrier_init(&start, NULL, threads);
        pthread_t handles[threads];
        Work work[threads];
        for (int i = 0; i < threads; i++) {
            size_t share = bytes / threads / 4096 * 4096;
            work[i] = (Work){.product = product, .memory = memory + i * share, .bytes = share, .start = &start};
            if (pthread_create(&handles[i], NULL, run, &work[i])) exit(1);
        }
        double sum = 0;
        for (int i = 0; i < threads; i++) {
            pthread_join(handles[i], NULL);
            sum += work[i].done / work[i].seconds;
        }
        pthread_barrier_destroy(&start);
        if (sum > best) best = sum;
    }
    return best;
}

static double giga(int threads, Product product, int operations_a_lane) {
    return rate(threads, product, NULL, 0) * DEPTH * ROWS * COLUMNS * LANES * operations_a_lane / 1e9;
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 1;
    if (threads < 1 || threads > 1024) {
        fprintf(stderr, "usage: peak THREADS\n");
        return 2;
    }
    size_t bytes = (size_t)1 << 30;
    char *memory = aligned_alloc(4096, bytes);
    if (!memory) return 1;
    memset(memory, 1, bytes);
    printf("{\"threads\": %d, \"f32\": %.1f", threads, giga(threads, product_f32, 2));
#ifdef HAVE_BF16
    printf(", \"bf16\": %.1f", giga(threads, product_bf16, 4));
#endif
#ifdef HAVE_INT8
    printf(", \"int8\": %.1f", giga(threads, product_int8, 8));
#endif
    printf(", \"read\": %.1f}\n", rate(threads, NULL, memory, bytes) / 1e9);
    free(memory);
    return 0;
}
