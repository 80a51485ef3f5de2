/* hash.c - xxHash and libsodium behind the project's own types. */
#include "hash.h"

#include <sodium.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(crypto_generichash_state) <= sizeof(digest_state),
               "digest_state holds libsodium's");

/* Picks the fastest BLAKE2b of this CPU; without it libsodium runs its portable one. */
__attribute__((constructor)) static void pick_implementation(void)
{
   int ignored = sodium_init();
   (void)ignored;
}

uint64_t hash64_bytes(const void *data, size_t size)
{
   return XXH3_64bits(data, size);
}

hash128 hash_bytes(const void *data, size_t size, hash128 seed)
{
   /* The seed is hashed in front, so that all of its 128 bits count. */
   XXH3_state_t state;

   XXH3_128bits_reset(&state);
   XXH3_128bits_update(&state, &seed, sizeof seed);
   XXH3_128bits_update(&state, data, size);
   XXH128_hash_t h = XXH3_128bits_digest(&state);
   return (hash128){h.low64, h.high64};
}

void digest_init(digest_state *s)
{
   crypto_generichash_init((crypto_generichash_state *)s, NULL, 0, sizeof(digest));
}

void digest_update(digest_state *s, const void *data, size_t size)
{
   crypto_generichash_update((crypto_generichash_state *)s, data, size);
}

digest digest_final(digest_state *s)
{
   digest d;

   crypto_generichash_final((crypto_generichash_state *)s, d.bytes, sizeof d.bytes);
   return d;
}

digest digest_bytes(const void *data, size_t size)
{
   digest_state s;

   digest_init(&s);
   digest_update(&s, data, size);
   return digest_final(&s);
}

bool digest_equal(const digest *a, const digest *b)
{
   return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void digest_hex(const digest *d, char out[65])
{
   sodium_bin2hex(out, 65, d->bytes, sizeof d->bytes);
}
