/* model.c - opens a checkpoint: source, configuration, graph, text. */
#include "model.h"

#include "expert_map.h"
#include "import/planes.h"
#include "import/tokenizer.h"

/* ---- families ---- */

#define TRAIT(name) MODEL_TRAIT_##name
static const model_row rows[] = {
#define MODEL(name, family, hf_class, model_type, gguf, rope, traits)                              \
   {#name,  #family,         hf_class,          model_type,      gguf,          rope,              \
    traits, MODEL_AT_##name, family##_defaults, family##_derive, family##_build},
#include "models.def"
};

static sinter_status no_family(const model_source *s, const char *arch)
{
   text_buf list = {.a = s->a};

   for (size_t i = 0; i < countof(rows); i++)
      if (!s->gguf || *rows[i].gguf)
         text_printf(&list, "%s%s", i ? ", " : "", s->gguf ? rows[i].gguf : rows[i].hf_class);
   return base_fail(SINTER_unsupported, s->path,
                    arena_printf(s->a, "take a model of one of these: %s", list.data),
                    "the architecture '%.80s' is not supported", arch);
}

static sinter_status find_gguf_row(model_source *s, const model_row **out)
{
   const gguf_value *v = gguf_find(s->gguf, "general.architecture");
   const gguf_string *name = v && v->count == 1 ? gguf_strings(s->a, v) : NULL;

   if (!name)
      return config_bad(s, "the file does not name its architecture");
   for (size_t i = 0; i < countof(rows); i++)
      if (*rows[i].gguf && strlen(rows[i].gguf) == name->len &&
          memcmp(rows[i].gguf, name->data, name->len) == 0) {
         *out = &rows[i];
         return SINTER_ok;
      }
   return no_family(s, arena_strndup(s->a, name->data, MIN(name->len, 80)));
}

sinter_status config_find_row(model_source *s, const model_row **out)
{
   const json *classes = json_get(s->config, "architectures"),
              *type = json_get(s->config, "model_type");
   const json *name =
      classes && classes->kind == JSON_array && classes->len ? classes->items[0] : NULL;

   if (s->gguf)
      return find_gguf_row(s, out);
   if (name && name->kind != JSON_string)
      name = NULL;
   if (type && type->kind != JSON_string)
      type = NULL;
   for (size_t i = 0; i < countof(rows); i++)
      if (name ? strcmp(rows[i].hf_class, name->string) == 0
               : type && strcmp(rows[i].model_type, type->string) == 0) {
         *out = &rows[i];
         return SINTER_ok;
      }
   if (!name && !type)
      return config_bad(s, "config.json names neither architectures nor model_type");
   return no_family(s, name ? name->string : type->string);
}

/* ---- graph ---- */

static void ranges(ir_func *f, const model_options *o)
{
   ir_func_range(f, SYM_T, 1, o->max_rows);
   ir_func_range(f, SYM_R, 0, o->max_wanted);
   ir_func_range(f, SYM_S, 1, o->max_sequences);
}

/* The two states of a gated delta net. */
static void recurrent_leaves(model_build *b, uint32_t l)
{
   const model_config *c = b->config;
   int64_t keys = (int64_t)c->delta_key_heads * c->delta_key_width;
   int64_t values = (int64_t)c->delta_heads * c->delta_value_width;
   ir_type conv = ir_type_make(
      DT_f32, 2, (ir_dim[]){ir_dim_of(c->conv_width - 1), ir_dim_of(2 * keys + values)});
   ir_type memory =
      ir_type_make(DT_f32, 3,
                   (ir_dim[]){ir_dim_of(c->delta_heads), ir_dim_of(c->delta_key_width),
                              ir_dim_of(c->delta_value_width)});

   conv.state = IR_STATE_conv;
   memory.state = IR_STATE_recurrent;
   b->conv[l] = ir_state(&b->b, l, 0, conv);
   b->memory[l] = ir_state(&b->b, l, 0, memory);
}

/* Step inputs and states, in front of all blocks. */
static void leaves(model_build *b)
{
   const model_config *c = b->config;
   ir_dim t = ir_dim_sym(SYM_T), r = ir_dim_sym(SYM_R);
   ir_dim kv[2] = {ir_dim_of(c->kv_heads), ir_dim_of(c->head_width)};

   if (c->kv_rank) { /* latent attention: one row for all heads */
      kv[0] = ir_dim_of(1);
      kv[1] = ir_dim_of(c->kv_rank + c->rotated_width);
   }

   b->ids = ir_meta(&b->b, IR_META_token_ids, IR_NO_I, ir_type_make(DT_i32, 1, &t));
   for (uint32_t i = 0; i < b->m->num_ropes; i++)
      b->tables[i] =
         ir_meta(&b->b, IR_META_rope, i,
                 ir_type_make(DT_f32, 2, (ir_dim[]){t, ir_dim_of(b->m->ropes[i].width)}));
   if (b->num_layers > c->layers)
      b->next_ids = ir_meta(&b->b, IR_META_next_ids, IR_NO_I, ir_type_make(DT_i32, 1, &t));
   if (c->vision) {
      ir_dim features[] = {ir_dim_sym(SYM_I), ir_dim_of(c->width)};
      b->features = ir_meta(&b->b, IR_META_features, IR_NO_I, ir_type_make(DT_f32, 2, features));
   }
   b->rows = ir_meta(&b->b, IR_META_rows, IR_NO_I, ir_type_make(DT_i32, 1, &r));
   b->kv = arena_array(b->m->a, ir_value *, b->num_layers);
   b->routes = arena_array(b->m->a, ir_value *, b->num_layers);
   b->conv = arena_array(b->m->a, ir_value *, b->num_layers);
   b->memory = arena_array(b->m->a, ir_value *, b->num_layers);
   b->rows_of = arena_array(b->m->a, ir_value *, b->num_layers);
   b->entries = arena_array(b->m->a, ir_value *, b->num_layers);
   b->keys = arena_array(b->m->a, ir_value *, b->num_layers);
   for (uint32_t l = 0; l < b->num_layers && !c->ratios; l++) {
      if (l < c->layers && c->recurrent && c->recurrent[l]) {
         recurrent_leaves(b, l);
         continue;
      }
      if (c->states) {
         kv[0] = ir_dim_of(c->states[l].heads);
         kv[1] = ir_dim_of(c->states[l].width);
         if (c->states[l].layer != l)
            continue;
      }
      ir_type type = ir_type_make(DT_f32, 2, kv);
      bool sliding = l < c->layers && c->sliding[l]; /* a draft layer sees everything */
      type.state = c->kv_rank ? IR_STATE_mla : sliding ? IR_STATE_kv_window : IR_STATE_kv_full;
      b->kv[l] = ir_state(&b->b, l, sliding ? c->window : 0, type);
      model_kv_scales(b, l);
   }
}

static sinter_status check_unread(const model *m)
{
   for (uint32_t i = 0; i < m->num_tensors; i++)
      if (!m->tensors[i].read && !m->tensors[i].is_plane)
         return base_fail(SINTER_unsupported, m->path,
                          "report the model: leaving a tensor out would change its answers",
                          "the tensor '%.120s' is not used by family %s", m->tensors[i].source_name,
                          m->info.family);
   return SINTER_ok;
}

/* A tied checkpoint may ship its head all the same. One that is another matrix is what some would
 * run, while others go by the configuration. */
static sinter_status check_head(const model *m, const model_config *c, const model_options *o)
{
   const model_tensor *head = map_get(&m->by_name, "output.weight"),
                      *table = map_get(&m->by_name, "token_embd.weight");

   if (!c->tied || o->hidden || !head || !table ||
       (head->dtype == table->dtype && head->layout.kind == table->layout.kind &&
        head->bytes == table->bytes && memcmp(head->data, table->data, head->bytes) == 0))
      return SINTER_ok;
   return base_fail(SINTER_bad_input, m->path,
                    "set tie_word_embeddings to false to use the head, or remove it",
                    "the model's head is said to be its table of embeddings "
                    "(tie_word_embeddings), but '%.120s' is another matrix",
                    head->source_name);
}

/* The graph, with its draft layer or without. */
static sinter_status build_graph(model *m, const model_config *c, const model_options *o,
                                 bool draft, ir_func **out)
{
   model_build b = {.m = m, .config = c, .weights = {.a = m->a}};
   expert_map *experts;

   *out = b.b.f = ir_func_create(m->a, "main");
   b.num_layers = c->layers + (draft ? c->draft_layers : 0);
   SINTER_TRY(expert_map_read(m->a, o->experts, b.num_layers, &experts));
   b.experts = experts;
   b.hidden = o->hidden;
   ranges(b.b.f, o);
   if (c->vision)
      ir_func_range(b.b.f, SYM_I, 0, o->max_rows);
   leaves(&b);
   c->row->build(&b);
   SINTER_TRY(b.status);
   return expert_map_check(experts, m->path);
}

/* The graph of the vision tower, as a model of its own over the same tensors. */
static sinter_status build_tower(model *m, const model_config *c)
{
   const model_vision *v = c->vision;
   model *t = m->tower = arena_copy(m->a, m, sizeof *m);
   model_build b = {.m = t, .config = c, .weights = {.a = m->a}};
   text_buf report = {.a = m->a};

   t->num_ropes = 1;
   t->ropes = arena_copy(m->a, &v->rope, sizeof v->rope);
   t->f = b.b.f = ir_func_create(m->a, "tower");
   ir_func_range(b.b.f, SYM_T, 1, MODEL_TOWER_ROWS);
   ir_func_range(b.b.f, SYM_R, 0, MODEL_TOWER_ROWS / (v->how.merge * v->how.merge));
   ir_func_range(b.b.f, SYM_S, 1, MODEL_TOWER_SEQUENCES);
   model_build_tower(&b);
   SINTER_TRY(b.status);
   return ir_validate(t->f, &report)
             ? SINTER_ok
             : base_fail(SINTER_failed, m->path, "report the model's configuration",
                         "the graph of its vision tower is not valid: %.200s", report.data);
}

/* Without the draft layer its tensors are checked all the same: its graph is made and dropped. */
static sinter_status build(model *m, const model_config *c, const model_options *o)
{
   text_buf report = {.a = m->a};
   ir_func *dropped;

   if (o->draft && o->hidden)
      return base_fail(SINTER_usage, m->path, "leave one out",
                       "states after the last norm are those of the model, not of its draft layer");
   if (o->draft && !c->draft_layers)
      return base_fail(SINTER_unsupported, m->path, "leave --mtp out",
                       "the model has no layer that drafts tokens");
   if (c->draft_layers && !o->draft) {
      SINTER_TRY(build_graph(m, c, o, true, &dropped));
      *vec_push(m->a, &m->notes) =
         "the layer that drafts tokens is not run; `logits --mtp` runs it";
   }
   SINTER_TRY(check_head(m, c, o));
   SINTER_TRY(build_graph(m, c, o, o->draft, &m->f));
   if (c->vision)
      SINTER_TRY(build_tower(m, c));
   SINTER_TRY(check_unread(m));
   if (!ir_validate(m->f, &report))
      return base_fail(SINTER_failed, m->path, "report the model's configuration",
                       "its graph is not valid: %.200s", report.data);
   return SINTER_ok;
}

/* ---- text and description ---- */

static const char *model_name(model_source *s, const model_config *c)
{
   const gguf_value *v = s->gguf ? gguf_find(s->gguf, "general.name") : NULL;
   const gguf_string *name = v && v->count == 1 ? gguf_strings(s->a, v) : NULL;

   return name ? arena_strndup(s->a, name->data, MIN(name->len, 200)) : c->row->name;
}

static sinter_status read_text(model *m, model_source *s, model_config *c)
{
   model_text t = {.bos = -1};

   if (s->gguf)
      SINTER_TRY(model_vocab_from_gguf(s->a, s->gguf, c->vocab, &t));
   else
      SINTER_TRY(model_vocab_from_hf(s->a, s->path, c->vocab, &t));
   m->vocab_blob = t.vocab;
   m->vocab_size = t.vocab_size;
   m->chat_template = t.chat_template;
   if (c->bos < 0 && t.bos >= 0 && (uint32_t)t.bos < c->vocab)
      c->bos = t.bos;
   for (uint32_t i = 0; i < t.num_eos; i++)
      SINTER_TRY(config_add_eos(s, c, t.eos[i]));
   m->info.adds_bos = t.adds_bos && c->bos >= 0;
   return SINTER_ok;
}

static void describe(model *m, model_source *s, const model_config *c, const model_options *o)
{
   plan_model *p = &m->info;

   p->name = model_name(s, c);
   p->family = c->row->family;
   p->vocab = c->vocab;
   p->layers = c->layers;
   p->width = c->width;
   p->head = o->hidden ? PLAN_HEAD_hidden : o->draft ? PLAN_HEAD_draft : PLAN_HEAD_logits;
   p->layers += o->draft ? c->draft_layers : 0;
   p->trained_context = c->context;
   p->bos = c->bos;
   p->num_eos = c->num_eos;
   memcpy(p->eos, c->eos, sizeof p->eos);
   if (c->vision)
      p->vision = c->vision->how;
}

/* Of the tower: features in the place of logits, and no text. */
static void describe_tower(model *m, const model_config *c)
{
   plan_model *p = &m->tower->info;

   *p = (plan_model){.name = m->info.name,
                     .family = m->info.family,
                     .vocab = c->vision->out,
                     .layers = c->vision->layers,
                     .width = c->vision->width,
                     .trained_context = MODEL_TOWER_ROWS,
                     .bos = -1,
                     .tower = 1,
                     .vision = c->vision->how};
}

/* ---- opening ---- */

typedef struct opening {
   arena *a;
   const char *path;
   const model_options *options;
   source_file *files; /* outside the arena's reach: unmapped when the body unwinds */
   model *m;
} opening;

/* A tower that config.json does not describe is not run. */
static void leave_tower(model_source *s, const model_config *c)
{
   for (size_t i = 0; i < s->tensors.count && !c->vision; i++) {
      model_tensor *t = &s->tensors.data[i];
      bool is_tower =
         t->name && (strncmp(t->name, "v.", 2) == 0 || strncmp(t->name, "mm.", 3) == 0);
      if (s->gguf || t->is_plane || !is_tower)
         continue;
      t->read = true;
      source_skip_tower(s, t->source_name);
   }
}

static void note_unused(model *m, const model_source *s)
{
   if (s->num_unused)
      *vec_push(m->a, &m->notes) =
         arena_printf(m->a, "%u tensors below '%s' are another tower's and not used for text",
                      s->num_unused, s->unused_tower);
}

static void set_ropes(model *m, const model_config *c)
{
   m->num_ropes = (c->rope_local.width ? 2 : 1) + c->num_more_ropes;
   m->ropes = arena_array(m->a, rope_spec, m->num_ropes);
   m->ropes[0] = c->rope;
   if (m->num_ropes > 1)
      m->ropes[1] = c->rope_local;
   for (uint32_t i = 0; i < c->num_more_ropes; i++)
      m->ropes[2 + i] = c->more_ropes[i];
}

static sinter_status open_body(void *user)
{
   opening *o = user;
   model *m = o->m = arena_new(o->a, model);
   model_source *s = arena_new(o->a, model_source);
   model_config *c = arena_new(o->a, model_config);
   const model_row *row = NULL;

   m->a = o->a;
   m->path = arena_strdup(o->a, o->path);
   *s = (model_source){.a = o->a, .path = m->path, .files = &o->files};
   SINTER_TRY(source_open(s));
   SINTER_TRY(config_find_row(s, &row));
   SINTER_TRY(source_join_planes(s));
   SINTER_TRY(config_read(s, row, c));
   SINTER_TRY(source_name_tensors(s, row->family, &m->by_name));
   leave_tower(s, c);
   note_unused(m, s);
   m->tensors = s->tensors.data;
   m->num_tensors = (uint32_t)s->tensors.count;
   m->info.family = row->family;
   set_ropes(m, c);
   SINTER_TRY(build(m, c, o->options));
   SINTER_TRY(read_text(m, s, c));
   describe(m, s, c, o->options);
   if (m->tower)
      describe_tower(m, c);
   return SINTER_ok;
}

sinter_status model_open(arena *a, const char *path, const model_options *options, model **out)
{
   opening o = {.a = a, .path = path, .options = options};
   sinter_status status = arena_catch(open_body, &o);

   if (status != SINTER_ok) {
      source_unmap(o.files);
      return status;
   }
   o.m->mapping = o.files;
   *out = o.m;
   return SINTER_ok;
}

void model_close(model *m)
{
   source_unmap(m->mapping);
   m->mapping = NULL;
}

sinter_status model_files(arena *a, const char *path, const char ***out_paths, size_t *out_count)
{
   return source_files(a, path, out_paths, out_count);
}
