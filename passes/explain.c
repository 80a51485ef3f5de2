/* explain.c - what the passes did, as JSON for `sinter explain`, and a layout as comment lines for
 * sinter-opt. */
#include "pass.h"

#include "base/json.h"
#include "base/pack.h"

enum { PREFILL_ROWS = 512 }; /* of the step that `prefill_ns` is for */

static void string(text_buf *out, const char *s)
{
   json_write_string(out, s ? s : "", s ? strlen(s) : 0);
}

static void member(text_buf *out, const char *comma, const char *key, const char *value)
{
   text_printf(out, "%s\"%s\":", comma, key);
   string(out, value);
}

static void write_site(text_buf *out, const pass_site *s)
{
   text_printf(out, "{\"site\":\"%s:%u\"", pass_infos[s->pass].name, s->number);
   member(out, ",", "at", s->at);
   member(out, ",", "reason", s->reason);
   if (s->lost_to)
      text_printf(out, ",\"gain_ns\":%.0f,\"lost_to\":\"%s:%u\",\"lost_ns\":%.0f", s->gain_ns,
                  pass_infos[s->lost_to->pass].name, s->lost_to->number, s->lost_ns);
   text_printf(out, "}");
}

static void write_near(text_buf *out, const pass_near *n)
{
   member(out, "{", "at", n->at);
   text_printf(out, ",\"matched\":%u,\"of\":%u", n->matched, n->total);
   member(out, ",", "missing", n->missing);
   text_printf(out, "}");
}

static void write_pass(text_buf *out, const pass_entry *e)
{
   const char *comma = "";

   text_printf(out,
               "{\"name\":\"%s\",\"matched\":%u,\"fired\":%u,\"rounding\":\"%s\",\"declined\":[",
               pass_infos[e->id].name, e->matched, e->fired, pass_rounding_name(e->rounding));
   for (size_t i = 0; i < e->sites.count; i++) {
      if (e->sites.data[i]->verdict != PASS_DECLINED)
         continue;
      text_printf(out, "%s", comma);
      write_site(out, e->sites.data[i]);
      comma = ",";
   }
   text_printf(out, "],\"chosen\":[");
   comma = "";
   for (size_t i = 0; i < e->sites.count; i++) {
      const pass_site *s = e->sites.data[i];

      if (s->verdict != PASS_FIRED)
         continue;
      text_printf(out, "%s{\"site\":\"%s:%u\"", comma, pass_infos[s->pass].name, s->number);
      member(out, ",", "at", s->at);
      text_printf(out, ",\"gain_ns\":%.0f}", s->gain_ns);
      comma = ",";
   }
   text_printf(out, "],\"near\":[");
   for (size_t i = 0; i < e->near.count; i++) {
      text_printf(out, "%s", i ? "," : "");
      write_near(out, &e->near.data[i]);
   }
   text_printf(out, "]}");
}

static void write_fusions(text_buf *out, const pass_report *report)
{
   const char *comma = "";

   for (pass_id id = 0; id < pass_count(); id++) {
      pass_phase phase = pass_infos[id].phase;

      /* And rewrites that somebody has to ask for. */
      if (phase != PASS_FUSE && phase != PASS_REST && pass_infos[id].on)
         continue;
      text_printf(out, "%s\n", comma);
      write_pass(out, &report->entry[id]);
      comma = ",";
   }
}

static const char *segment_kind(const pass_segment *s)
{
   return s->kind == PLAN_SEGMENT_recorded ? "recorded" : "eager";
}

static void write_segments(text_buf *out, const pass_layout *l)
{
   for (uint32_t i = 0; i < l->num_segments; i++) {
      const pass_segment *s = &l->segments[i];

      text_printf(out, "%s\n{\"first\":%u,\"kernels\":%u,\"kind\":\"%s\"", i ? "," : "",
                  s->first_kernel, s->num_kernels, segment_kind(s));
      member(out, ",", "reason", s->reason);
      text_printf(out, "}");
   }
}

static void write_attention(text_buf *out, const pass_layout *l, const char *form,
                            const char *between)
{
   for (uint32_t i = 0; i < l->num_attentions; i++) {
      const pass_attention *t = &l->attentions[i];
      const char *comma = "";

      text_printf(out, "%s\n{", i ? "," : between);
      member(out, "", "form", form);
      member(out, ",", "at", t->at);
      text_printf(out, ",\"count\":%u", t->count);
      member(out, ",", "chosen", attention_name(t->backend));
      text_printf(out, ",\"refused\":[");
      for (int b = 0; b < ATTENTION_BACKENDS; b++) {
         if (!t->refused[b])
            continue;
         text_printf(out, "%s{", comma);
         member(out, "", "name", attention_name((attention_backend)b));
         member(out, ",", "reason", t->refused[b]);
         text_printf(out, "}");
         comma = ",";
      }
      text_printf(out, "]}");
   }
}

static void write_breaks(text_buf *out, const pass_report *report)
{
   for (size_t i = 0; i < report->breaks.count; i++) {
      const pass_break *b = &report->breaks.data[i];

      text_printf(out, "%s\n{", i ? "," : "");
      member(out, "", "op", b->op);
      member(out, ",", "property", b->property);
      member(out, ",", "chain", b->chain);
      member(out, ",", "remedy", b->remedy);
      text_printf(out, "}");
   }
}

/* What a kernel waits for most. */
static const char *bound_of(const pass_target *t, const pass_cost *c)
{
   if (t->launch_ns >= MAX(c->memory_ns, c->work_ns))
      return "launch";
   return c->memory_ns >= c->work_ns ? "memory" : "arithmetic";
}

static void write_step(text_buf *out, const pass_target *t, const pass_layout *l, const ir_group *g,
                       const char *step, int64_t rows, pass_cost *sum)
{
   pass_cost c = pass_kernel_cost(out->a, t, l, g, rows);

   text_printf(out, ",\"%s_ns\":%.0f,\"%s_light_ns\":%.0f,\"%s_bytes\":%.0f", step, c.ns, step,
               c.light_ns, step, c.bytes);
   text_printf(out, ",\"%s_flops\":%.0f,\"%s_bound\":\"%s\"", step, 2 * c.multiplications, step,
               bound_of(t, &c));
   sum->ns += c.ns;
   sum->light_ns += c.light_ns;
}

/* A break costs what cost.c takes for one: two launches. */
static void write_prediction(text_buf *out, const pass_target *t, const pass_layout *l,
                             const pass_cost *decode, const pass_cost *prefill)
{
   double breaks = l->num_segments ? 2 * t->launch_ns * (l->num_segments - 1) : 0;

   text_printf(out,
               "\"decode_ns\":%.0f,\"decode_light_ns\":%.0f,\"prefill_rows\":%d,"
               "\"prefill_ns\":%.0f,\"prefill_light_ns\":%.0f,\"break_ns\":%.0f,\"measured\":false",
               decode->ns + breaks, decode->light_ns, PREFILL_ROWS, prefill->ns + breaks,
               prefill->light_ns, breaks);
}

static void write_kernels(text_buf *out, const pass_target *t, const pass_layout *l)
{
   pass_cost decode = {0}, prefill = {0};

   for (uint32_t i = 0; i < l->num_kernels; i++) {
      const ir_group *g = l->kernels[i];

      text_printf(out, "%s\n{", i ? "," : "");
      member(out, "", "name", g->name);
      member(out, ",", "rule", g->rule);
      write_step(out, t, l, g, "decode", 1, &decode);
      write_step(out, t, l, g, "prefill", PREFILL_ROWS, &prefill);
      text_printf(out, ",\"ops\":[");
      for (const ir_op *op = g->first; op && op->group == g; op = op->next)
         text_printf(out, "%s\"%s\"", op == g->first ? "" : ",", ir_op_infos[op->code].name);
      text_printf(out, "]}");
   }
   text_printf(out, "],\"prediction\":{");
   write_prediction(out, t, l, &decode, &prefill);
}

static void write_target(text_buf *out, const pass_target *t)
{
   member(out, "", "name", t->name);
   if (t->arch)
      member(out, ",", "machine", t->arch->machine);
   text_printf(out, ",\"row_limit\":%lld,\"launch_ns\":%g,\"bytes_per_ns\":%g,\"int8\":%s",
               (long long)t->row_limit, t->launch_ns, t->bytes_per_ns,
               t->has_int8 ? "true" : "false");
   member(out, ",", "fp8", arch_fp8_name(t->arch ? t->arch->fp8 : ARCH_FP8_NONE));
}

void pass_explain(text_buf *out, const ir_func *f, const pass_target *target,
                  const pass_report *report, const pass_layout *layout)
{
   static const pass_layout none;
   const pass_layout *l = layout ? layout : &none;

   text_printf(out, "{");
   member(out, "", "function", f->name);
   text_printf(out, ",\"fusions\":[");
   write_fusions(out, report);
   text_printf(out, "],\"notes\":[");
   for (size_t i = 0; i < report->notes.count; i++) {
      text_printf(out, "%s", i ? "," : "");
      string(out, report->notes.data[i]);
   }
   text_printf(out, "],\"target\":{");
   write_target(out, target);
   text_printf(out, "},\"attention\":[");
   write_attention(out, l, l->prompts ? "decode" : "all", "");
   if (l->prompts)
      write_attention(out, l->prompts, "prompts", l->num_attentions ? "," : "");
   text_printf(out, "],\"segments\":[");
   write_segments(out, l);
   text_printf(out, "],\"breaks\":[");
   write_breaks(out, report);
   text_printf(out, "],\"kernels\":[");
   write_kernels(out, target, l);
   text_printf(out, "}}\n");
}

/* ---- layout as text ---- */

static void print_place(text_buf *out, const ir_func *f, const pass_layout *l, const ir_value *v)
{
   const pass_place *p = &l->places[v->id];

   text_printf(out, "// place %s ", pass_label(f->a, v->def));
   if (v->result)
      text_printf(out, "result %u ", v->result);
   switch (p->kind) {
   case PASS_PLACE_kernel: text_printf(out, "kernel\n"); break;
   case PASS_PLACE_arena:
      text_printf(out, "arena %llu + %llu\n", (unsigned long long)p->offset,
                  (unsigned long long)p->size);
      break;
   case PASS_PLACE_weight:
      text_printf(out, "weight %u", p->index);
      if (p->index2)
         text_printf(out, ", top %u", p->index2 - 1);
      text_printf(out, "\n");
      break;
   case PASS_PLACE_state: text_printf(out, "state %u layer %u\n", p->index, p->index2); break;
   case PASS_PLACE_meta:
      text_printf(out, "meta %s %u\n", ir_meta_infos[p->index].name, p->index2);
      break;
   case PASS_PLACE_output: text_printf(out, "output %u\n", p->index); break;
   case PASS_PLACE_alias: text_printf(out, "alias of %s\n", pass_label(f->a, p->alias->def)); break;
   }
}

void pass_print_layout(text_buf *out, const ir_func *f, const pass_layout *l)
{
   for (uint32_t i = 0; i < l->num_segments; i++)
      text_printf(out, "// segment %u: %u kernels, %s%s%s\n", i, l->segments[i].num_kernels,
                  segment_kind(&l->segments[i]), l->segments[i].reason[0] ? ": " : "",
                  l->segments[i].reason);
   text_printf(out, "// arena %llu, weights %llu\n", (unsigned long long)l->arena_bytes,
               (unsigned long long)l->weight_bytes);
   ir_op_foreach (f, op)
      for (uint32_t i = 0; i < op->num_results; i++)
         print_place(out, f, l, op->results[i]);
   for (uint32_t i = 0; i < l->num_attentions; i++) {
      const pass_attention *t = &l->attentions[i];

      text_printf(out, "// attention %s and %u more: %s", t->at, t->count - 1,
                  attention_name(t->backend));
      for (int b = 0; b < ATTENTION_BACKENDS; b++)
         if (t->refused[b])
            text_printf(out, "; %s %s", attention_name((attention_backend)b), t->refused[b]);
      text_printf(out, "\n");
   }
   for (uint32_t i = 0; i < l->num_weights; i++) {
      const plan_weight *w = &l->weights[i];

      text_printf(out, "// weight %u %s layout %s [%llu,%llu] at %llu + %llu\n", i,
                  w->sources[0].tensor, panel_infos[w->layout].name, (unsigned long long)w->rows,
                  (unsigned long long)w->cols, (unsigned long long)w->offset,
                  (unsigned long long)w->size);
   }
   for (uint32_t i = 0; i < l->num_cache_groups; i++) {
      const plan_cache_group *g = &l->cache_groups[i];

      text_printf(out, "// cache %u %s [%u,%u] window %lld %s, %u layers\n", i,
                  ir_state_infos[g->kind + 1].name, g->heads, g->width, (long long)g->window,
                  dtype_infos[g->dtype].name, g->num_layers);
   }
}
