/* grammar_schema.h - what the files about JSON schemas share. */
#ifndef TEXT_GRAMMAR_SCHEMA_H
#define TEXT_GRAMMAR_SCHEMA_H

#include "base/map.h"
#include "grammar_build.h"

enum {
   SCHEMA_null = 1,
   SCHEMA_boolean = 2,
   SCHEMA_integer = 4,
   SCHEMA_number = 8, /* that need not be an integer */
   SCHEMA_string = 16,
   SCHEMA_array = 32,
   SCHEMA_object = 64,
   SCHEMA_all = 127,
};

/* Schemas become rules one after the other, however they refer to each other. */
typedef struct schema_item {
   const json *schema;
   uint32_t rule;
} schema_item;

typedef struct schema_job {
   grammar_builder *b;
   const json *root;
   map rules; /* by schema */
   VEC(schema_item) queue;
   int merges;
} schema_job;

/* A schema as a rule, made on first use. */
SINTER_CHECKED sinter_status schema_rule(schema_job *j, const json *s, uint32_t *out);

/* The values that two schemas both allow, as one schema. */
SINTER_CHECKED sinter_status schema_merge(schema_job *j, const json *x, const json *y,
                                          const json **out);

/* What a reference names. */
SINTER_CHECKED sinter_status schema_find(const schema_job *j, const json *ref, const json **out);

/* Member of a schema; json_get serves only objects that were read. */
const json *schema_get(const json *s, const char *key);

/* The schema with references that have keywords beside them, and allOf, merged into it. */
SINTER_CHECKED sinter_status schema_flatten(schema_job *j, const json *s, const json **out);

/* The schema without a member. */
const json *schema_without(schema_job *j, const json *s, const char *key);

SINTER_CHECKED sinter_status schema_types(const json *s, unsigned *out);
SINTER_CHECKED sinter_status schema_lacks(const char *keyword, const char *fmt, ...)
   PRINTF_LIKE(2, 3);
bool schema_equal(const json *x, const json *y);
/* Whether a keyword of the schema says something that NOTE does not. */
bool schema_is_held(const char *key);
/* Whether the schema allows everything. */
bool schema_is_any(const json *s);
unsigned schema_type_of(const json *value);

#endif
