/* grammar_members.h - the parts of a schema that have members: objects and arrays. */
#ifndef TEXT_GRAMMAR_MEMBERS_H
#define TEXT_GRAMMAR_MEMBERS_H

#include "grammar_schema.h"

/* A name of a property, or a string among others. */
typedef struct schema_name {
   const char *text;
   size_t len;
   const uint32_t *codes; /* filled in by schema_names */
   size_t num_codes;
} schema_name;

/* A rule for JSON strings: those named, or all others. Sorts the names. */
SINTER_CHECKED sinter_status schema_names(grammar_builder *b, schema_name *names, size_t count,
                                          bool others, uint32_t *out);

bool schema_requires(const json *s, const char *name, size_t len);

/* A whole number of a keyword. */
SINTER_CHECKED sinter_status schema_count(const json *s, const char *key, int64_t otherwise,
                                          int64_t *out);

SINTER_CHECKED sinter_status schema_object(schema_job *j, const json *s, uint32_t *out);
SINTER_CHECKED sinter_status schema_array(schema_job *j, const json *s, uint32_t *out);

#endif
