/* lower_state.c - convolutions and gated delta nets, alone or with what pass gdn_conv_gate_norm
 * puts around them.
 *
 *    kernel { conv_step }                                    one part: all channels
 *    kernel { conv_step, silu, slices, reshapes, l2norms }   a part for each slice, in tiles of heads
 *    kernel { gdn }                                          o
 *    kernel { decay, sigmoid, gdn, rmsnorm, silu, mul }      gates before it, gated norm behind it */
#include "base/pack.h"
#include "kernels/cpu/state.h"
#include "lower.h"

enum { CONV_BLOCK = 64 }; /* channels of a tile where nothing says otherwise */

static sinter_status refuse(const ir_op *op, const char *why)
{
   return base_fail(SINTER_unsupported, ir_op_infos[op->code].name,
                    "compile with --without gdn_conv_gate_norm, or report the model",
                    "no kernel for cpu: %s", why);
}

static const ir_op *find(const ir_group *g, ir_opcode code)
{
   for (const ir_op *op = g->first; op && op->group == g; op = op->next)
      if (op->code == code)
         return op;
   return NULL;
}

static bool is_f32(const ir_value *v)
{
   return v->type.dtype == DT_f32;
}

/* The five arrays of runs. */
static void add_runs(const cg_lower *l, const ir_op *op, cg_launch *to)
{
   uint32_t group = cg_place(l, op->operands[0])->index;

   cg_launch_ref(to, cg_ref_meta(IR_META_runs, 0), 0, false);
   cg_launch_ref(to, cg_ref_meta(IR_META_snap_rows, 0), 0, false);
   cg_launch_ref(to, cg_ref_meta(IR_META_state_from, group), 0, false);
   cg_launch_ref(to, cg_ref_meta(IR_META_state_to, group), 0, false);
   cg_launch_ref(to, cg_ref_meta(IR_META_state_snap, group), 0, false);
}

/* ---- convolution ---- */

/* The only reader of v in the group that has that code. */
static const ir_op *reader(const ir_group *g, const ir_value *v, ir_opcode code)
{
   for (const ir_use *u = v->uses; u; u = u->next)
      if (u->user->group == g && u->user->code == code)
         return u->user;
   return NULL;
}

/* The part that a slice of the channels becomes; *out: the value that leaves the kernel. */
static conv_part part_of(const ir_group *g, const ir_op *slice, const ir_value **out)
{
   conv_part p = {.first = (uint32_t)ir_attr_i(slice, IR_ATTR_start, 0),
                  .channels = (uint32_t)ir_attr_i(slice, IR_ATTR_size, 0),
                  .block = CONV_BLOCK};
   const ir_op *view = reader(g, slice->results[0], IR_OP_reshape);
   const ir_op *norm = view ? reader(g, view->results[0], IR_OP_l2norm) : NULL;

   *out = slice->results[0];
   if (norm) {
      p.block = (uint32_t)ir_type_row(&norm->results[0]->type);
      p.norm = true;
      p.eps = ir_attr_f(norm, IR_ATTR_eps, 0);
      *out = norm->results[0];
   }
   return p;
}

static sinter_status fill_parts(const ir_group *g, const ir_op *conv, conv_key *key,
                                const ir_value **outs)
{
   const ir_op *silu = reader(g, conv->results[1], IR_OP_silu);
   const ir_value *y = silu ? silu->results[0] : conv->results[1];

   key->silu = silu != NULL;
   for (const ir_op *op = g->first; op && op->group == g; op = op->next) {
      if (op->code != IR_OP_slice || op->operands[0] != y)
         continue;
      if (key->num_parts == CONV_MAX_PARTS)
         return refuse(conv, "it is cut into too many parts");
      conv_part p = part_of(g, op, &outs[key->num_parts]);
      key->parts[key->num_parts++] = p;
   }
   if (!key->num_parts) {
      key->parts[0] = (conv_part){.channels = key->channels, .block = CONV_BLOCK};
      key->num_parts = 1;
      outs[0] = y;
   }
   uint64_t taken = 0;
   for (uint32_t i = 0; i < key->num_parts; i++) {
      taken += key->parts[i].channels;
      if (!is_f32(outs[i]))
         return refuse(conv, "its results must be f32");
   }
   if (taken != key->channels)
      return refuse(conv, "its parts are not all channels once");
   return SINTER_ok;
}

static void emit_conv(arena *a, vec_module *m, const void *what)
{
   (void)a;
   conv_emit(m, what);
}

static sinter_status conv_key_of(const cg_lower *l, const ir_group *g, const ir_op *op,
                                 conv_key *key, const ir_value **outs)
{
   const ir_type *w = &op->operands[2]->type;
   const pass_place *at = cg_place(l, op->operands[2]);
   panel_layout layout = at->kind == PASS_PLACE_weight
                            ? (panel_layout)l->layout->weights[at->index].layout
                            : PANEL_none;

   *key = (conv_key){.w = w->dtype,
                     .channels = (uint32_t)ir_dim_const(w->dim[0]),
                     .width = (uint32_t)ir_dim_const(w->dim[1])};
   if (panel_infos[layout].kind != PANEL_KIND_FLOAT)
      return refuse(op, "its weights must be a float tensor of the checkpoint");
   if (key->width < 2 || key->width > CONV_MAX_WIDTH)
      return refuse(op, "widths from 2 to 16 are supported");
   if (!is_f32(op->operands[1]))
      return refuse(op, "its input must be f32");
   return fill_parts(g, op, key, outs);
}

sinter_status cg_lower_conv(const cg_lower *l, const ir_group *g, cg_launches *out)
{
   const ir_op *op = find(g, IR_OP_conv_step);
   conv_key *key = arena_new(l->a, conv_key);
   const ir_value *outs[CONV_MAX_PARTS];
   char symbol[STATE_SYMBOL_MAX];

   SINTER_TRY(conv_key_of(l, g, op, key, outs));
   conv_symbol(key, symbol);
   cg_launch *to = vec_push(l->a, &out->list);
   *to = (cg_launch){.kernel = {arena_strdup(l->a, symbol), "conv", emit_conv, key, &cg_simt_conv}};
   conv_launch(key, &to->launch);
   for (uint32_t i = 0; i < key->num_parts; i++)
      cg_launch_value(l, to, outs[i], true);
   cg_launch_value(l, to, op->operands[0], true);
   cg_launch_value(l, to, op->operands[1], false);
   cg_launch_value(l, to, op->operands[2], false);
   add_runs(l, op, to);
   return SINTER_ok;
}

/* ---- gated delta net ---- */

static void emit_gdn(arena *a, vec_module *m, const void *what)
{
   (void)a;
   gdn_emit(m, what);
}

/* What stands around the gdn of a group: NULL where it stands alone. */
typedef struct gdn_parts {
   const ir_op *gdn, *decay, *sigmoid, *norm, *mul, *silu;
} gdn_parts;

static sinter_status gdn_key_of(const gdn_parts *p, gdn_key *key)
{
   const ir_op *op = p->gdn;
   const ir_type *state = &op->operands[0]->type, *q = &op->operands[1]->type;

   *key = (gdn_key){.groups = (uint32_t)ir_dim_const(q->dim[1]),
                    .heads = (uint32_t)ir_dim_const(state->dim[0]),
                    .dk = (uint32_t)ir_dim_const(state->dim[1]),
                    .dv = (uint32_t)ir_dim_const(state->dim[2]),
                    .scale = ir_attr_f(op, IR_ATTR_scale, 1),
                    .gates = p->decay != NULL,
                    .norm = p->norm != NULL};
   if (p->norm) {
      key->eps = ir_attr_f(p->norm, IR_ATTR_eps, 0);
      key->offset = ir_attr_f(p->norm, IR_ATTR_offset, 0);
   }
   if (key->dk > GDN_MAX_KEY)
      return refuse(op, "keys of up to 512 elements are supported");
   for (uint32_t i = 0; i < op->num_operands; i++)
      if (!is_f32(op->operands[i]))
         return refuse(op, "its operands must be f32");
   return is_f32(op->results[1]) ? SINTER_ok : refuse(op, "its result must be f32");
}

static void gdn_refs(const cg_lower *l, const gdn_parts *p, cg_launch *to)
{
   const ir_op *op = p->gdn;

   cg_launch_value(l, to, p->mul ? p->mul->results[0] : op->results[1], true);
   cg_launch_value(l, to, op->operands[0], true);
   for (uint32_t i = 1; i < 4; i++)
      cg_launch_value(l, to, op->operands[i], false);
   cg_launch_value(l, to, p->decay ? p->decay->operands[0] : op->operands[4], false);
   cg_launch_value(l, to, p->sigmoid ? p->sigmoid->operands[0] : op->operands[5], false);
   add_runs(l, op, to);
   if (p->decay) {
      cg_launch_value(l, to, p->decay->operands[1], false);
      cg_launch_value(l, to, p->decay->operands[2], false);
   }
   if (p->norm) {
      cg_launch_value(l, to, p->norm->operands[1], false);
      cg_launch_value(l, to, p->silu->operands[0], false);
   }
}

sinter_status cg_lower_gdn(const cg_lower *l, const ir_group *g, cg_launches *out)
{
   gdn_parts p = {.gdn = find(g, IR_OP_gdn),
                  .decay = find(g, IR_OP_decay),
                  .sigmoid = find(g, IR_OP_sigmoid),
                  .norm = find(g, IR_OP_rmsnorm),
                  .mul = find(g, IR_OP_mul),
                  .silu = find(g, IR_OP_silu)};
   uint32_t known = 1 + 2 * (p.decay && p.sigmoid) + 3 * (p.norm && p.mul && p.silu);
   gdn_key *key = arena_new(l->a, gdn_key);
   char symbol[STATE_SYMBOL_MAX];

   if (g->num_ops != known || !p.decay != !p.sigmoid || !p.norm != !p.mul)
      return refuse(p.gdn, "its kernel holds something that is neither its gates nor its norm");
   SINTER_TRY(gdn_key_of(&p, key));
   gdn_symbol(key, symbol);
   cg_launch *to = vec_push(l->a, &out->list);
   *to = (cg_launch){.kernel = {arena_strdup(l->a, symbol), "gdn", emit_gdn, key, &cg_simt_gdn}};
   gdn_launch(key, l->isa->lanes, &to->launch);
   gdn_refs(l, &p, to);
   return SINTER_ok;
}
