/* ref_device.c - runs an artifact on the meanings of its ops.
 *
 *    artifact ─┬─ IR text ──parse──▶ ir_func ─┐
 *              └─ weights, rows as stored ────┴─▶ ir_eval_run over one array of k and v per
 *                                                 layer and sequence
 *
 * Slow and plain on purpose: what other devices compute is compared with this. States grow with the
 * longest sequence. */
#include "ref_device.h"

#include <stdlib.h>

#include "base/pack.h"
#include "base/quant.h"
#include "ir/eval.h"
#include "runtime/artifact.h"

/* One chain per layer and kind. */
typedef struct ref_state {
   int64_t layer;
   ir_state_kind kind;
   ir_kv kv;
} ref_state;

struct rt_device {
   arena *a; /* of the device's life */
   const plan *plan;
   rt_limits limits;
   rt_step *step;
   ir_func *f;
   const uint8_t *weights;
   map weight_of; /* tensor → plan_weight */
   uint32_t num_states;
   ref_state *states;     /* in the order of the function; arrays are malloc'd and grow */
   arena *scratch;        /* of the running step */
   float *logits;         /* f32[max_wanted, V] */
   int32_t **routes;      /* by plan.routes: i32[max_rows][k] */
   uint64_t weight_bytes; /* read so far */
};

/* ---- opening ---- */

typedef struct opening {
   rt_device *d;
   const rt_artifact *artifact;
} opening;

static sinter_status parse_function(rt_device *d, const rt_artifact *artifact, uint32_t target)
{
   rt_bytes text = rt_artifact_section(artifact, ARTIFACT_ir, target);
   const char *where = rt_artifact_path(artifact);
   text_buf report = {.a = d->a};
   ir_module module = {0};

   if (!text.data)
      return base_fail(SINTER_bad_input, where, "compile the model again with --target ref",
                       "the artifact holds no IR text for the interpreter");
   SINTER_TRY(ir_parse(d->a, (const char *)text.data, text.size, where, &module));
   if (module.funcs.count != 1)
      return base_fail(SINTER_bad_input, where, "compile the model again",
                       "the IR text is not one function");
   d->f = module.funcs.data[0];
   if (!ir_validate(d->f, &report))
      return base_fail(SINTER_bad_input, where, "compile the model again",
                       "the IR is not valid: %.200s", report.data);
   return SINTER_ok;
}

/* States without memory; a sequence gets some when its first token comes. */
static void make_states(rt_device *d)
{
   uint32_t n = (uint32_t)d->limits.max_sequences;

   ir_op_foreach (d->f, op)
      d->num_states += op->code == IR_OP_state;
   d->states = arena_array(d->a, ref_state, d->num_states);
   ref_state *next = d->states;
   ir_op_foreach (d->f, op) {
      const ir_type *t = &op->results[0]->type;
      if (op->code != IR_OP_state)
         continue;
      *next = (ref_state){.layer = ir_attr_i(op, IR_ATTR_layer, -1), .kind = t->state};
      next->kv =
         (ir_kv){.heads = ir_dim_const(t->dim[0]), .width = ir_state_width(t), .num_seqs = n};
      next->kv.k = arena_array(d->a, double *, n);
      if (ir_state_infos[t->state].rows == 2)
         next->kv.v = arena_array(d->a, double *, n);
      next++;
   }
}

static void index_weights(rt_device *d)
{
   d->weight_of.a = d->a;
   for (uint32_t i = 0; i < d->plan->num_weights; i++) {
      plan_weight *w = &d->plan->weights[i];
      if (w->num_sources == 1)
         map_set(&d->weight_of, w->sources[0].tensor, w);
   }
}

static sinter_status open_body(void *user)
{
   opening *o = user;
   rt_device *d = o->d;
   rt_bytes weights;
   uint32_t target;

   SINTER_TRY(rt_artifact_target(o->artifact, "ref", d->limits.tower, &target));
   d->plan = rt_artifact_plan(o->artifact, target);
   SINTER_TRY(rt_artifact_weights(o->artifact, target, &weights));
   d->weights = weights.data;
   index_weights(d);
   SINTER_TRY(parse_function(d, o->artifact, target));
   make_states(d);
   return SINTER_ok;
}

static void ref_close(rt_device *d)
{
   for (uint32_t i = 0; d->states && i < d->num_states; i++)
      for (uint32_t s = 0; d->states[i].kv.k && s < d->states[i].kv.num_seqs; s++) {
         free(d->states[i].kv.k[s]);
         if (d->states[i].kv.v)
            free(d->states[i].kv.v[s]);
      }
   free(d->logits);
   for (uint32_t i = 0; d->routes && i < d->plan->num_routes; i++)
      free(d->routes[i]);
   free(d->routes);
   arena_destroy(d->a);
   free(d);
}

static sinter_status make_outputs(rt_device *d)
{
   const plan *p = d->plan;
   bool done = true;

   d->logits = calloc((size_t)d->limits.max_wanted * plan_row(&p->model), sizeof *d->logits);
   d->routes = calloc(MAX(p->num_routes, 1u), sizeof *d->routes);
   for (uint32_t i = 0; d->routes && i < p->num_routes; i++) {
      d->routes[i] = calloc((size_t)d->limits.max_rows * p->routes[i].k, sizeof **d->routes);
      done &= d->routes[i] != NULL;
   }
   if (!d->logits || !d->routes || !done)
      return base_fail(SINTER_out_of_memory, "ref", "", "no memory for logits");
   return SINTER_ok;
}

static sinter_status ref_open(const rt_artifact *artifact, const rt_limits *limits, rt_step *step,
                              rt_device **out)
{
   rt_device *d = calloc(1, sizeof *d);
   sinter_status status;

   *out = NULL;
   if (!d)
      return base_fail(SINTER_out_of_memory, "ref", "", "no memory for the device");
   status = arena_create(&d->a);
   if (status != SINTER_ok) {
      free(d);
      return status;
   }
   d->limits = *limits;
   d->step = step;
   opening o = {d, artifact};
   status = arena_catch(open_body, &o);
   if (status == SINTER_ok)
      status = make_outputs(d);
   if (status != SINTER_ok) {
      ref_close(d);
      return status;
   }
   *out = d;
   return SINTER_ok;
}

/* ---- leaves ---- */

static sinter_status weight_rows(void *user, const char *name, const ir_type *type, int64_t first,
                                 int64_t count, double *out)
{
   rt_device *d = user;
   const plan_weight *w = map_get(&d->weight_of, name);
   uint64_t row_bytes;
   float part[256];

   if (!w || w->layout != PANEL_rows || w->dtype != (uint32_t)type->dtype || first < 0 ||
       (uint64_t)(first + count) > w->rows || !dtype_size(type->dtype, w->cols, &row_bytes) ||
       w->cols != (uint64_t)ir_type_row(type))
      return base_fail(SINTER_bad_input, name, "compile the model again with --target ref",
                       "the artifact's weights do not hold what its IR reads");
   const uint8_t *src = d->weights + w->offset + (uint64_t)first * row_bytes;
   const dtype_info *info = &dtype_infos[type->dtype];
   for (int64_t r = 0; r < count; r++, src += row_bytes, out += w->cols)
      for (uint64_t i = 0; i < w->cols; i += countof(part)) {
         uint64_t m = MIN(w->cols - i, countof(part));
         quant_to_f32(type->dtype, src + i / info->block * info->bytes, m, part);
         for (uint64_t k = 0; k < m; k++)
            out[i + k] = part[k];
      }
   d->weight_bytes += (uint64_t)count * row_bytes;
   return SINTER_ok;
}

static sinter_status whole_weight(void *user, const char *name, const ir_type *type, ir_tensor *out)
{
   rt_device *d = user;
   uint64_t n = 1, row = (uint64_t)ir_type_row(type);

   *out = (ir_tensor){.rank = type->rank};
   for (uint32_t i = 0; i < type->rank; i++)
      n *= (uint64_t)(out->dim[i] = ir_dim_const(type->dim[i]));
   out->data = arena_array(d->scratch, double, n);
   return weight_rows(user, name, type, 0, (int64_t)(n / row), out->data);
}

static sinter_status no_param(void *user, const char *name, const ir_type *type, ir_tensor *out)
{
   (void)user;
   (void)type;
   (void)out;
   return base_fail(SINTER_bad_input, name, "compile the model again",
                    "a model's function has no parameters");
}

static ir_kv *state_of(void *user, int64_t layer, const ir_type *type)
{
   rt_device *d = user;

   for (uint32_t i = 0; i < d->num_states; i++)
      if (d->states[i].layer == layer && d->states[i].kind == type->state)
         return &d->states[i].kv;
   return NULL;
}

/* ---- a step ---- */

static bool grow(double **data, int64_t row, int64_t from, int64_t to)
{
   double *more = realloc(*data, (size_t)(row * to) * sizeof **data);

   if (!more)
      return false;
   memset(more + row * from, 0, (size_t)(row * (to - from)) * sizeof *more);
   *data = more;
   return true;
}

/* What sequence s keeps of one layer. */
static bool grow_sequence(ir_kv *kv, uint32_t s, int64_t from, int64_t to)
{
   int64_t row = kv->heads * kv->width;

   return grow(&kv->k[s], row, from, to) && (!kv->v || grow(&kv->v[s], row, from, to));
}

/* Room for `positions` positions of sequence s; all sequences of a layer share one capacity. What
 * has no pages is one array, however long the sequence. */
static sinter_status reserve(rt_device *d, uint32_t s, int64_t positions)
{
   for (uint32_t l = 0; l < d->num_states; l++) {
      ir_kv *kv = &d->states[l].kv;
      bool paged = ir_state_infos[d->states[l].kind].paged, done = true;
      int64_t capacity = paged ? MAX(kv->capacity, 64) : 1;
      while (paged && capacity < positions)
         capacity *= 2;
      for (uint32_t i = 0; i < kv->num_seqs && done; i++)
         if (kv->k[i] && capacity > kv->capacity)
            done = grow_sequence(kv, i, kv->capacity, capacity);
      if (done && !kv->k[s])
         done = grow_sequence(kv, s, 0, capacity);
      if (!done)
         return base_fail(SINTER_out_of_memory, "ref", "use a shorter context or fewer sequences",
                          "no memory for %lld positions", (long long)positions);
      kv->capacity = capacity;
   }
   return SINTER_ok;
}

static ir_tensor rope_table(const rt_device *d, uint32_t index, int64_t rows)
{
   uint32_t width = d->plan->ropes[index].width;
   const float *from = d->step->meta[IR_META_rope][index];
   ir_tensor t = {.rank = 2, .dim = {rows, width}};

   t.data = arena_array(d->scratch, double, (size_t)rows *width);
   for (int64_t i = 0; i < rows * width; i++)
      t.data[i] = from[i];
   return t;
}

static void keep_routes(rt_device *d, const ir_tensor *results, int64_t rows)
{
   uint32_t n = 0;

   for (size_t i = 0; i < d->f->returns.count; i++) {
      if (d->f->returns.data[i]->def->code != IR_OP_capture || n == d->plan->num_routes)
         continue;
      for (int64_t k = 0; k < rows * d->plan->routes[n].k; k++)
         d->routes[n][k] = (int32_t)results[i].data[k];
      n++;
   }
}

static sinter_status run_body(void *user)
{
   rt_device *d = user;
   const rt_step *from = d->step;
   int64_t rows = from->block.sym[SYM_T], wanted = from->block.sym[SYM_R];
   ir_tensor *results = arena_array(d->scratch, ir_tensor, d->f->returns.count);
   ir_tensor *ropes = arena_array(d->scratch, ir_tensor, d->plan->num_ropes);
   ir_step step = {.token_ids = from->meta[IR_META_token_ids][0],
                   .next_ids = from->meta[IR_META_next_ids][0],
                   .positions = from->meta[IR_META_positions][0],
                   .seq_of = from->meta[IR_META_seq_of][0],
                   .rows = from->meta[IR_META_rows][0],
                   .ends = from->meta[IR_META_ends][0],
                   .corners = from->meta[IR_META_corners][0],
                   .patches = from->meta[IR_META_patches][0],
                   .corner_weights = from->meta[IR_META_corner_weights][0],
                   .features = from->meta[IR_META_features][0],
                   .num_rope = d->plan->num_ropes,
                   .rope = ropes};
   ir_env env = {d, whole_weight, weight_rows, no_param, state_of};

   for (uint32_t i = 0; i < SYM_COUNT; i++)
      step.sym[i] = from->block.sym[i];
   for (int64_t i = 0; i < rows; i++)
      SINTER_TRY(reserve(d, (uint32_t)step.seq_of[i], step.positions[i] + 1));
   for (uint32_t i = 0; i < d->plan->num_ropes; i++)
      ropes[i] = rope_table(d, i, rows);
   SINTER_TRY(ir_eval_run(d->scratch, d->f, IR_EVAL_f64, &step, &env, results, NULL, NULL));
   for (int64_t i = 0; i < wanted * plan_row(&d->plan->model); i++)
      d->logits[i] = (float)results[0].data[i];
   keep_routes(d, results, rows);
   return SINTER_ok;
}

static sinter_status ref_run(rt_device *d, const float **out_logits)
{
   sinter_status status;

   SINTER_TRY(arena_create(&d->scratch));
   status = arena_catch(run_body, d);
   arena_destroy(d->scratch);
   d->scratch = NULL;
   *out_logits = d->logits;
   return status;
}

static const int32_t *ref_routes(const rt_device *d, uint32_t index)
{
   return d->routes[index];
}

static void ref_copy_page(rt_device *d, uint32_t group, int32_t from, int32_t to)
{
   /* contiguous devices share no pages, so the engine never asks */
   (void)d;
   (void)group;
   (void)from;
   (void)to;
}

static void ref_stats(const rt_device *d, sinter_stats *out)
{
   out->weight_bytes_read += d->weight_bytes;
}

const rt_device_ops cg_ref_device = {
   .name = "ref",
   .contiguous = true,
   .open = ref_open,
   .close = ref_close,
   .run = ref_run,
   .routes = ref_routes,
   .copy_page = ref_copy_page,
   .stats = ref_stats,
};
