/* near.c - near misses: where a pass almost had a site, and the first thing that was missing.
 *
 * Of all ops at which a pattern matches in part, the PASS_MAX_NEAR with the most matched ops are
 * kept, earlier ones first on a tie. A match at an op drops nothing: sites have their own
 * reasons. */
#include "run.h"

#include <stdio.h>

static const char *const texts[] = {
#define NEAR(name, text) [IR_NEAR_##name] = text,
   IR_NEARS(NEAR)
#undef NEAR
};

static void insert(pass_run *run, pass_near n)
{
   pass_entry *e = &run->report->entry[run->current];
   size_t at = e->near.count;

   while (at > 0 && e->near.data[at - 1].matched < n.matched)
      at--;
   if (at == PASS_MAX_NEAR)
      return;
   if (e->near.count < PASS_MAX_NEAR)
      (void)vec_push(run->f->a, &e->near);
   memmove(&e->near.data[at + 1], &e->near.data[at],
           (e->near.count - 1 - at) * sizeof e->near.data[0]);
   e->near.data[at] = n;
}

/* Whether another near miss of so many matched ops would be kept. */
static bool is_worth(const pass_run *run, uint32_t matched)
{
   const pass_entry *e = &run->report->entry[run->current];

   return e->near.count < PASS_MAX_NEAR || e->near.data[PASS_MAX_NEAR - 1].matched < matched;
}

bool pass_note_near(pass_run *run, const ir_op *op, uint32_t matched, uint32_t total,
                    const char *fmt, ...)
{
   char text[512];
   va_list args;

   if (!is_worth(run, matched))
      return false;
   va_start(args, fmt);
   vsnprintf(text, sizeof text, fmt, args);
   va_end(args);
   insert(run, (pass_near){op, pass_label(run->f->a, op), matched, total,
                           arena_strdup(run->f->a, text)});
   return false;
}

static void write_wanted(text_buf *out, const ir_pat *p)
{
   const char *between = "";

   for (int code = 0; code < IR_OP_COUNT; code++)
      if (p->ops >> code & 1) {
         text_printf(out, "%s%s", between, ir_op_infos[code].name);
         between = " or ";
      }
}

/* operand 0 of rmsnorm: wants add, found %o = matmul %x, %m : f32[T,32] */
static void describe(text_buf *out, const ir_near *near)
{
   if (near->reader)
      text_printf(out, "operand %u of %s: ", near->operand, ir_op_infos[near->reader->code].name);
   if (near->kind == IR_NEAR_op) {
      text_printf(out, "wants ");
      write_wanted(out, near->pattern);
      text_printf(out, ", found ");
      ir_print_op(out, near->value->def);
   } else if (near->value) {
      text_printf(out, "%s %s", pass_label(out->a, near->value->def), texts[near->kind]);
   } else {
      text_printf(out, "%s", texts[near->kind]);
   }
   while (out->len && (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == ' '))
      out->data[--out->len] = '\0';
}

bool pass_match(pass_run *run, const ir_pat *pattern, ir_op *op, ir_match *out)
{
   text_buf text = {.a = run->f->a};
   ir_near near;

   if (ir_match_op(pattern, op, out))
      return true;
   if (!ir_match_near(pattern, op, &near) || !is_worth(run, near.matched))
      return false;
   describe(&text, &near);
   return pass_note_near(run, op, near.matched, near.total, "%s", text.data);
}
