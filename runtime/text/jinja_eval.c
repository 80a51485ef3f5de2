/* jinja_eval.c - running the tree: expressions to values, statements to text.
 *
 * Scopes as Jinja's: a loop's body and a macro have their own, an `if` has not; assignments stay in
 * the innermost. */
#include "jinja.h"

static sinter_status eval(jinja *j, const jnode *n, jvalue *out);

static sinter_status enter(jinja *j, const jnode *n)
{
   j->line = n->line;
   SINTER_TRY(jinja_burn(j, 1));
   if (++j->depth > JINJA_DEPTH)
      return jinja_fail(j, SINTER_exhausted, "nesting is too deep");
   return SINTER_ok;
}

/* ---- names ---- */

static jvalue look_up(const jinja *j, const jvalue *name)
{
   for (const jscope *s = j->scope; s; s = s->up) {
      const jvalue *v = jdict_get(&s->vars, name->s, name->len);
      if (v)
         return *v;
   }
   return jundefined(arena_strndup(j->a, name->s, name->len));
}

static jscope *push_scope(jinja *j, jscope *up)
{
   jscope *s = arena_new(j->a, jscope), *old = j->scope;

   s->up = up;
   j->scope = s;
   return old;
}

static sinter_status assign(jinja *j, const jnode *target, jvalue value)
{
   jlist *items;
   jvalue object;

   switch (target->kind) {
   case JN_name:
      SINTER_TRY(jinja_burn(j, j->scope->vars.v.count / 8));
      jdict_set(j, &j->scope->vars, target->value, value);
      return SINTER_ok;
   case JN_attr:
      object = look_up(j, &target->a->value);
      if (object.kind != J_dict || !object.dict->is_namespace)
         return jinja_fail(j, SINTER_bad_input, "only a namespace's attributes can be set");
      jdict_set(j, object.dict, target->value, value);
      return SINTER_ok;
   default: break;
   }
   SINTER_TRY(jitems(j, &value, &items));
   if (items->v.count != target->kids.count)
      return jinja_fail(j, SINTER_bad_input, "%zu values for %zu names", items->v.count,
                        target->kids.count);
   for (size_t i = 0; i < target->kids.count; i++)
      SINTER_TRY(assign(j, target->kids.data[i], items->v.data[i]));
   return SINTER_ok;
}

static sinter_status slice(jinja *j, const jnode *n, jvalue *out)
{
   jvalue v, bounds[3];

   SINTER_TRY(eval(j, n->a, &v));
   for (size_t i = 0; i < 3; i++) {
      bounds[i] = (jvalue){.kind = J_none};
      if (n->kids.data[i])
         SINTER_TRY(eval(j, n->kids.data[i], &bounds[i]));
   }
   j->line = n->line;
   return jinja_slice(j, v, bounds, out);
}

static sinter_status compare(jinja *j, const jnode *n, jvalue *out)
{
   jvalue left, right;
   bool holds = true;

   SINTER_TRY(eval(j, n->a, &left));
   for (size_t i = 0; i < n->kids.count && holds; i++) {
      SINTER_TRY(eval(j, n->kids.data[i], &right));
      SINTER_TRY(jinja_compare(j, n->ops.data[i], &left, &right, &holds));
      left = right;
   }
   *out = jbool(holds);
   return SINTER_ok;
}

/* ---- calls ---- */

static sinter_status arguments(jinja *j, const jnode *n, jargs *out)
{
   *out = (jargs){arena_array(j->a, jvalue, n->kids.count + 1), n->kids.count, n->keys.data};
   for (size_t i = 0; i < n->kids.count; i++)
      SINTER_TRY(eval(j, n->kids.data[i], &out->v[i]));
   return SINTER_ok;
}

static sinter_status bind_parameters(jinja *j, const jnode *macro, const jargs *args)
{
   size_t used = 0;

   for (size_t i = 0; i < macro->keys.count; i++) {
      const char *name = macro->keys.data[i];
      const jvalue *given = jarg(args, i, name);
      jvalue value = jundefined(name);
      used += given != NULL;
      if (given)
         value = *given;
      else if (macro->kids.data[i])
         SINTER_TRY(eval(j, macro->kids.data[i], &value));
      jdict_set(j, &j->scope->vars, jstring(name, strlen(name)), value);
   }
   return used == args->count ? SINTER_ok
                              : jinja_fail(j, SINTER_bad_input, "a macro takes no such argument");
}

/* Runs a body into a string. */
static sinter_status capture(jinja *j, const jnode *body, jvalue *out)
{
   jbuild text = {.a = j->a}, *old = j->out;

   j->out = &text;
   SINTER_TRY(jinja_run(j, body));
   j->out = old;
   *out = jbuild_string(&text);
   return SINTER_ok;
}

static sinter_status call_macro(jinja *j, const jmacro *m, const jargs *args, jvalue *out)
{
   jscope *old = push_scope(j, m->scope);

   SINTER_TRY(bind_parameters(j, m->node, args));
   SINTER_TRY(capture(j, m->node->b, out));
   j->scope = old;
   return SINTER_ok;
}

static sinter_status call(jinja *j, const jnode *n, jvalue *out)
{
   jvalue callee;
   jargs args;

   SINTER_TRY(eval(j, n->a, &callee));
   SINTER_TRY(arguments(j, n, &args));
   j->line = n->line;
   switch ((jkind)callee.kind) {
   case J_macro: return call_macro(j, callee.macro, &args, out);
   case J_function: return jinja_function(j, callee.function, &args, out);
   case J_method: return jinja_method(j, callee.method->id, &callee.method->self, &args, out);
   case J_undefined:
      return jinja_fail(j, SINTER_unsupported, "there is no function or method '%.80s'", callee.s);
   default: return jinja_fail(j, SINTER_bad_input, "%s is called", jkind_name(&callee));
   }
}

static sinter_status filter_or_test(jinja *j, const jnode *n, jvalue *out)
{
   jvalue v;
   jargs args;
   bool holds;

   j->line = n->line;
   if (n->op <
       0) /* found out only here: templates name what they use in branches that are never taken */
      return jinja_fail(j, SINTER_unsupported, "there is no %s '%.*s'",
                        n->kind == JN_filter ? "filter" : "test", (int)MIN(n->value.len, 60u),
                        n->value.s);
   SINTER_TRY(eval(j, n->a, &v));
   SINTER_TRY(arguments(j, n, &args));
   j->line = n->line;
   if (n->kind == JN_filter)
      return jinja_filter(j, n->op, &v, &args, out);
   SINTER_TRY(jinja_test(j, n->op, &v, &args, &holds));
   *out = jbool(holds != n->negated);
   return SINTER_ok;
}

/* ---- expressions ---- */

static sinter_status list(jinja *j, const jnode *n, jvalue *out)
{
   *out = jnew_list(j);
   out->flag = n->kind == JN_tuple;
   for (size_t i = 0; i < n->kids.count; i++) {
      jvalue v;
      SINTER_TRY(eval(j, n->kids.data[i], &v));
      *vec_push(j->a, &out->list->v) = v;
   }
   return SINTER_ok;
}

static sinter_status dict(jinja *j, const jnode *n, jvalue *out)
{
   *out = jnew_dict(j);
   for (size_t i = 0; i + 1 < n->kids.count; i += 2) {
      jvalue key, value;
      SINTER_TRY(eval(j, n->kids.data[i], &key));
      SINTER_TRY(eval(j, n->kids.data[i + 1], &value));
      SINTER_TRY(jinja_burn(j, out->dict->v.count / 8));
      jdict_set(j, out->dict, key, value);
   }
   return SINTER_ok;
}

static sinter_status concat(jinja *j, const jnode *n, jvalue *out)
{
   jbuild text = {.a = j->a};

   for (size_t i = 0; i < n->kids.count; i++) {
      jvalue v;
      SINTER_TRY(eval(j, n->kids.data[i], &v));
      SINTER_TRY(jprint(j, &text, &v, false));
   }
   *out = jbuild_string(&text);
   return SINTER_ok;
}

static sinter_status sign(jinja *j, const jnode *n, jvalue *out)
{
   jvalue zero = jint(0), v;

   SINTER_TRY(eval(j, n->a, &v));
   return jinja_binary(j, n->kind == JN_neg ? JOP_sub : JOP_add, &zero, &v, out);
}

static sinter_status binary(jinja *j, const jnode *n, jvalue *out)
{
   jvalue a, b;

   SINTER_TRY(eval(j, n->a, &a));
   SINTER_TRY(eval(j, n->b, &b));
   j->line = n->line;
   return jinja_binary(j, n->op, &a, &b, out);
}

static sinter_status logic(jinja *j, const jnode *n, jvalue *out)
{
   jvalue condition;

   if (n->kind == JN_choice) {
      SINTER_TRY(eval(j, n->b, &condition));
      if (jis_true(&condition))
         return eval(j, n->a, out);
      *out = jundefined("the else of an inline if");
      return n->c ? eval(j, n->c, out) : SINTER_ok;
   }
   SINTER_TRY(eval(j, n->a, out));
   if (n->kind == JN_not)
      *out = jbool(!jis_true(out));
   else if (jis_true(out) == (n->kind == JN_and))
      return eval(j, n->b, out);
   return SINTER_ok;
}

static sinter_status access(jinja *j, const jnode *n, jvalue *out)
{
   jvalue v, key;

   SINTER_TRY(eval(j, n->a, &v));
   j->line = n->line;
   if (n->kind == JN_attr)
      return jinja_attr(j, &v, &n->value, false, out);
   SINTER_TRY(eval(j, n->b, &key));
   return jinja_item(j, &v, &key, out);
}

static sinter_status eval_kind(jinja *j, const jnode *n, jvalue *out)
{
   switch (n->kind) {
   case JN_const: *out = n->value; return SINTER_ok;
   case JN_name:
      SINTER_TRY(jinja_burn(j, j->scope->vars.v.count / 8));
      *out = look_up(j, &n->value);
      return SINTER_ok;
   case JN_list:
   case JN_tuple: return list(j, n, out);
   case JN_dict: return dict(j, n, out);
   case JN_attr:
   case JN_item: return access(j, n, out);
   case JN_slice: return slice(j, n, out);
   case JN_call: return call(j, n, out);
   case JN_filter:
   case JN_test: return filter_or_test(j, n, out);
   case JN_not:
   case JN_and:
   case JN_or:
   case JN_choice: return logic(j, n, out);
   case JN_neg:
   case JN_pos: return sign(j, n, out);
   case JN_binary: return binary(j, n, out);
   case JN_compare: return compare(j, n, out);
   case JN_concat: return concat(j, n, out);
   default: return jinja_fail(j, SINTER_bad_input, "a statement stands where a value should");
   }
}

static sinter_status eval(jinja *j, const jnode *n, jvalue *out)
{
   SINTER_TRY(enter(j, n));
   SINTER_TRY(eval_kind(j, n, out));
   j->depth--;
   return SINTER_ok;
}

/* ---- statements ---- */

static sinter_status run_if(jinja *j, const jnode *n)
{
   jvalue condition;

   for (size_t i = 0; i + 1 < n->kids.count; i += 2) {
      SINTER_TRY(eval(j, n->kids.data[i], &condition));
      if (jis_true(&condition))
         return jinja_run(j, n->kids.data[i + 1]);
   }
   return n->kids.count % 2 ? jinja_run(j, n->kids.data[n->kids.count - 1]) : SINTER_ok;
}

/* The items a loop runs over: all, or those its condition keeps. */
static sinter_status loop_items(jinja *j, const jnode *n, jlist **out)
{
   jvalue v, keep;
   jlist *all;

   SINTER_TRY(eval(j, n->b, &v));
   SINTER_TRY(jitems(j, &v, &all));
   *out = all;
   if (!n->c)
      return SINTER_ok;
   *out = arena_new(j->a, jlist);
   jscope *old = push_scope(j, j->scope);
   for (size_t i = 0; i < all->v.count; i++) {
      SINTER_TRY(assign(j, n->a, all->v.data[i]));
      SINTER_TRY(eval(j, n->c, &keep));
      if (jis_true(&keep))
         *vec_push(j->a, &(*out)->v) = all->v.data[i];
   }
   j->scope = old;
   return SINTER_ok;
}

static sinter_status run_for(jinja *j, const jnode *n)
{
   jloop *loop = arena_new(j->a, jloop);
   static const char name[] = "loop";

   SINTER_TRY(loop_items(j, n, &loop->items));
   if (loop->items->v.count == 0)
      return n->kids.data[1] ? jinja_run(j, n->kids.data[1]) : SINTER_ok;
   loop->depth = 1;
   for (const jscope *s = j->scope; s; s = s->up)
      loop->depth += jdict_get(&s->vars, name, 4) != NULL;
   jscope *old = j->scope;
   for (; loop->at < loop->items->v.count && j->flow != FLOW_break; loop->at++) {
      push_scope(j, old);
      jdict_set(j, &j->scope->vars, jstring(name, 4), (jvalue){.kind = J_loop, .loop = loop});
      SINTER_TRY(assign(j, n->a, loop->items->v.data[loop->at]));
      j->flow = FLOW_on;
      SINTER_TRY(jinja_run(j, n->kids.data[0]));
   }
   j->flow = FLOW_on;
   j->scope = old;
   return SINTER_ok;
}

static sinter_status run_set(jinja *j, const jnode *n)
{
   jvalue v;

   if (n->kind == JN_set)
      SINTER_TRY(eval(j, n->b, &v));
   else
      SINTER_TRY(capture(j, n->kids.data[0], &v));
   return assign(j, n->a, v);
}

static sinter_status run_one(jinja *j, const jnode *n)
{
   jvalue v;

   switch (n->kind) {
   case JN_text: return jbuild_add(j, j->out, &n->value);
   case JN_output: SINTER_TRY(eval(j, n->a, &v)); return jprint(j, j->out, &v, false);
   case JN_if: return run_if(j, n);
   case JN_for: return run_for(j, n);
   case JN_set:
   case JN_set_block: return run_set(j, n);
   case JN_block: return jinja_run(j, n);
   case JN_break: j->flow = FLOW_break; return SINTER_ok;
   case JN_continue: j->flow = FLOW_continue; return SINTER_ok;
   case JN_macro: {
      jmacro *m = arena_new(j->a, jmacro);
      *m = (jmacro){n, j->scope};
      jdict_set(j, &j->scope->vars, n->value, (jvalue){.kind = J_macro, .macro = m});
      return SINTER_ok;
   }
   default: return jinja_fail(j, SINTER_bad_input, "a value stands where a statement should");
   }
}

sinter_status jinja_run(jinja *j, const jnode *block)
{
   SINTER_TRY(enter(j, block));
   for (size_t i = 0; i < block->kids.count && j->flow == FLOW_on; i++) {
      j->line = block->kids.data[i]->line;
      SINTER_TRY(jinja_burn(j, 1));
      SINTER_TRY(run_one(j, block->kids.data[i]));
   }
   j->depth--;
   return SINTER_ok;
}
