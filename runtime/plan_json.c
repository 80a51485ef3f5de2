/* plan_json.c - prints what plan.h holds, extents as formulas. */
#include "plan_json.h"

#include "base/pack.h"

static const char *const sym_names[] = {
#define SYM(name, what) #name,
#include "base/syms.def"
#undef SYM
};

static const char *const state_names[] = {
#define STATE(name, paged, window, rows, what) #name,
#include "base/states.def"
#undef STATE
};

static void field(text_buf *t, const char *before, const char *name, const char *value)
{
   text_printf(t, "%s\"%s\":", before, name);
   json_write_string(t, value, strlen(value));
}

static void number(text_buf *t, const char *before, const char *name, uint64_t value)
{
   text_printf(t, "%s\"%s\":%llu", before, name, (unsigned long long)value);
}

/* "3*ceil(T/4)*min(C,2)*(C>1)" */
static void write_extent(text_buf *t, const char *name, const plan_extent *e)
{
   text_printf(t, ",\"%s\":\"%lld", name, (long long)e->k);
   for (uint32_t i = 0; i < e->num_factors; i++) {
      const char *s = sym_names[e->factor[i].sym];
      if (e->most[i] && e->factor[i].div == 1)
         text_printf(t, "*min(%s,%u)", s, e->most[i]);
      else if (e->most[i])
         text_printf(t, "*min(ceil(%s/%u),%u)", s, e->factor[i].div, e->most[i]);
      else if (e->factor[i].div == 1)
         text_printf(t, "*%s", s);
      else
         text_printf(t, "*ceil(%s/%u)", s, e->factor[i].div);
   }
   if (e->above)
      text_printf(t, "*(C>%u)", e->above);
   text_append(t, "\"", 1);
}

static void write_launch(text_buf *t, const plan *p, const plan_launch *l, bool first)
{
   field(t, first ? "{" : ",{", "kernel", p->kernels[l->kernel].symbol);
   if (l->group < p->num_groups)
      field(t, ",", "group", p->groups[l->group].name);
   number(t, ",", "phase", l->phase);
   write_extent(t, "tiles", &l->tiles);
   write_extent(t, "bytes", &l->bytes);
   write_extent(t, "flops", &l->flops);
   text_append(t, "}", 1);
}

static void write_variant(text_buf *t, const plan *p, const plan_variant *v, bool first)
{
   field(t, first ? "{" : ",{", "name", v->name);
   text_printf(t, ",\"max_rows\":%lld,\"max_chunks\":%lld,\"segments\":[", (long long)v->max_rows,
               (long long)v->max_chunks);
   for (uint32_t i = 0; i < v->num_segments; i++) {
      const plan_segment *s = &v->segments[i];
      bool eager = s->kind == PLAN_SEGMENT_eager;
      field(t, i ? ",{" : "{", "kind", eager ? "eager" : "recorded");
      number(t, ",", "first_launch", s->first_launch);
      number(t, ",", "launches", s->num_launches);
      if (eager)
         field(t, ",", "reason", s->reason);
      text_append(t, "}", 1);
   }
   text_printf(t, "],\"launches\":[");
   for (uint32_t i = 0; i < v->num_launches; i++)
      write_launch(t, p, &v->launches[i], i == 0);
   text_printf(t, "]}");
}

static void write_weights(text_buf *t, const plan *p)
{
   text_printf(t, ",\"weights\":[");
   for (uint32_t i = 0; i < p->num_weights; i++) {
      const plan_weight *w = &p->weights[i];
      field(t, i ? ",{" : "{", "dtype", dtype_infos[w->dtype].name);
      field(t, ",", "layout", panel_infos[w->layout].name);
      number(t, ",", "rows", w->rows);
      number(t, ",", "cols", w->cols);
      if (w->stack > 1)
         number(t, ",", "stack", w->stack);
      number(t, ",", "offset", w->offset);
      number(t, ",", "bytes", w->size);
      text_printf(t, ",\"sources\":[");
      for (uint32_t k = 0; k < w->num_sources; k++) {
         if (k)
            text_append(t, ",", 1);
         json_write_string(t, w->sources[k].tensor, strlen(w->sources[k].tensor));
      }
      text_printf(t, "]}");
   }
   text_printf(t, "]");
}

static void write_states(text_buf *t, const plan *p)
{
   text_printf(t, ",\"cache_groups\":[");
   for (uint32_t i = 0; i < p->num_cache_groups; i++) {
      const plan_cache_group *g = &p->cache_groups[i];
      field(t, i ? ",{" : "{", "kind", state_names[g->kind]);
      number(t, ",", "heads", g->heads);
      number(t, ",", "width", g->width);
      number(t, ",", "window", (uint64_t)g->window);
      field(t, ",", "dtype", dtype_infos[g->dtype].name);
      number(t, ",", "layers", g->num_layers);
      text_append(t, "}", 1);
   }
   text_printf(t, "]");
}

static void write_model(text_buf *t, const plan_model *m)
{
   field(t, ",\"model\":{", "name", m->name);
   field(t, ",", "family", m->family);
   number(t, ",", "vocab", m->vocab);
   number(t, ",", "layers", m->layers);
   number(t, ",", "width", m->width);
   number(t, ",", "trained_context", m->trained_context);
   field(t, ",", "numerics", m->exact ? "exact" : "fast");
   text_append(t, "}", 1);
}

static void write_plan(text_buf *t, const plan *p, bool first)
{
   field(t, first ? "{" : ",{", "target", p->target);
   write_model(t, &p->model);
   number(t, ",", "arena_bytes", p->arena_bytes);
   number(t, ",", "weight_bytes", p->weight_bytes);
   write_extent(t, "scratch_bytes", &p->scratch);
   write_states(t, p);
   text_printf(t, ",\"kernels\":[");
   for (uint32_t i = 0; i < p->num_kernels; i++) {
      field(t, i ? ",{" : "{", "symbol", p->kernels[i].symbol);
      field(t, ",", "family", p->kernels[i].family);
      text_append(t, "}", 1);
   }
   text_printf(t, "],\"variants\":[");
   for (uint32_t i = 0; i < p->num_variants; i++)
      write_variant(t, p, &p->variants[i], i == 0);
   text_printf(t, "]");
   write_weights(t, p);
   text_printf(t, "}");
}

const char *rt_plan_json(arena *a, const plan *const *plans, uint32_t count)
{
   text_buf t = {.a = a};

   text_printf(&t, "{\"targets\":[");
   for (uint32_t i = 0; i < count; i++)
      write_plan(&t, plans[i], i == 0);
   text_printf(&t, "]}");
   return t.data;
}
