// LINK: runtime base
/* Ten thousand mutations of a small artifact whose digests fit again, so that the tables behind
 * them are what is tried: no crash, no hang, no more than 64 MiB. The corpus and the way in are the
 * fuzzer's. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <sys/resource.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
#include "../fuzz/fuzz_artifact.c"

enum { MUTATIONS = 10000, MAX_BYTES = 1 << 16 };

/* The sanitizer keeps freed memory back, 256 MiB of it. */
#if defined(__SANITIZE_ADDRESS__)
#define KEPT_BACK_KIB (512 * 1024)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEPT_BACK_KIB (512 * 1024)
#endif
#endif
#ifndef KEPT_BACK_KIB
#define KEPT_BACK_KIB 0
#endif

static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t random_below(uint64_t n)
{
   state = state * 6364136223846793005u + 1442695040888963407u;
   return (state >> 33) % n;
}

static long peak_kib(void)
{
   struct rusage usage;

   getrusage(RUSAGE_SELF, &usage);
   return usage.ru_maxrss;
}

static size_t read_seed(uint8_t *out)
{
   FILE *f = fopen(TEST_ROOT "/fuzz/corpus/artifact/tiny", "r");

   cr_assert_not_null(f);
   size_t size = fread(out, 1, MAX_BYTES, f);
   fclose(f);
   return size;
}

/* A few bytes set, flipped, or counted up or down; sometimes the end cut off. */
static size_t mutate(uint8_t *bytes, size_t size)
{
   for (uint64_t n = 1 + random_below(4); n--;) {
      uint8_t *b = &bytes[random_below(size)];
      switch (random_below(4)) {
      case 0: *b = (uint8_t)random_below(256); break;
      case 1: *b ^= (uint8_t)(1 << random_below(8)); break;
      case 2: *b = (uint8_t)(*b + 1); break;
      default: *b = random_below(2) ? 0xff : 0; break;
      }
   }
   return random_below(16) ? size : 1 + random_below(size);
}

Test(mutations, artifact, .timeout = 120)
{
   static uint8_t seed[MAX_BYTES], copy[MAX_BYTES];
   size_t size = read_seed(seed);

   cr_assert_gt(size, 8192);
   LLVMFuzzerTestOneInput(seed, size);
   long before = peak_kib();
   for (int i = 0; i < MUTATIONS; i++) {
      memcpy(copy, seed, size);
      LLVMFuzzerTestOneInput(copy, mutate(copy, size));
   }
   cr_assert_lt(peak_kib() - before, 64 * 1024 + KEPT_BACK_KIB);
}
