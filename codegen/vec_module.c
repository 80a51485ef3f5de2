/* vec_module.c - modules of kernels and their objects; intrinsics by name. */
#include "vec_impl.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const char triple[] = "x86_64-unknown-linux-gnu";

static void init_target(void)
{
   LLVMInitializeX86TargetInfo();
   LLVMInitializeX86Target();
   LLVMInitializeX86TargetMC();
   LLVMInitializeX86AsmPrinter();
}

static void init_types(vec_module *m)
{
   LLVMContextRef c = m->ctx;

   m->types[VEC_i1] = LLVMInt1TypeInContext(c);
   m->types[VEC_i8] = LLVMInt8TypeInContext(c);
   m->types[VEC_i16] = LLVMInt16TypeInContext(c);
   m->types[VEC_i32] = LLVMInt32TypeInContext(c);
   m->types[VEC_i64] = LLVMInt64TypeInContext(c);
   m->types[VEC_f16] = LLVMHalfTypeInContext(c);
   m->types[VEC_bf16] = LLVMBFloatTypeInContext(c);
   m->types[VEC_f32] = LLVMFloatTypeInContext(c);
   m->types[VEC_f64] = LLVMDoubleTypeInContext(c);
   m->types[VEC_ptr] = LLVMPointerTypeInContext(c, 0);
}

sinter_status vec_module_create(const vec_isa *isa, vec_module **out)
{
   static pthread_once_t once = PTHREAD_ONCE_INIT;
   LLVMTargetRef target;
   char *why = NULL;

   pthread_once(&once, init_target);
   if (LLVMGetTargetFromTriple(triple, &target, &why)) {
      sinter_status st = base_fail(SINTER_unsupported, triple, "install a complete LLVM",
                                   "this LLVM has no x86 back end: %s", why);
      LLVMDisposeMessage(why);
      return st;
   }
   vec_module *m = calloc(1, sizeof *m);
   if (!m)
      return base_fail(SINTER_out_of_memory, "", "", "no memory for a module");
   m->isa = *isa;
   m->ctx = LLVMContextCreate();
   m->mod = LLVMModuleCreateWithNameInContext("sinter", m->ctx);
   m->machine = LLVMCreateTargetMachine(target, triple, isa->cpu, isa->features,
                                        LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
   init_types(m);
   LLVMSetTarget(m->mod, triple);
   LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(m->machine);
   LLVMSetModuleDataLayout(m->mod, layout);
   LLVMDisposeTargetData(layout);
   *out = m;
   return SINTER_ok;
}

void vec_module_destroy(vec_module *m)
{
   if (!m)
      return;
   LLVMDisposeTargetMachine(m->machine);
   LLVMDisposeModule(m->mod);
   LLVMContextDispose(m->ctx);
   free(m);
}

const vec_isa *vec_module_isa(const vec_module *m)
{
   return &m->isa;
}

bool vec_module_has(const vec_module *m, const char *name)
{
   return LLVMGetNamedFunction(m->mod, name) != NULL;
}

static sinter_status fail_with(vec_module *m, char *why, const char *what)
{
   sinter_status st = base_fail(SINTER_failed, m->isa.name, "report this with the model",
                                "%s: %.300s", what, why ? why : "");
   LLVMDisposeMessage(why);
   return st;
}

void vec_module_sanitize(vec_module *m)
{
   m->sanitize = true;
}

/* Checks every load and store by calls of the sanitizer's run-time library. */
static sinter_status add_address_checks(vec_module *m)
{
   static const char name[] = "sanitize_address";
   unsigned kind = LLVMGetEnumAttributeKindForName(name, sizeof name - 1);
   LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();

   for (LLVMValueRef f = LLVMGetFirstFunction(m->mod); f; f = LLVMGetNextFunction(f))
      if (!LLVMIsDeclaration(f))
         LLVMAddAttributeAtIndex(f, LLVMAttributeFunctionIndex,
                                 LLVMCreateEnumAttribute(m->ctx, kind, 0));
   LLVMErrorRef err = LLVMRunPasses(m->mod, "asan", m->machine, options);
   LLVMDisposePassBuilderOptions(options);
   if (!err)
      return SINTER_ok;
   LLVMConsumeError(err);
   return base_fail(SINTER_unsupported, m->isa.name, "use an LLVM with its sanitizers",
                    "address checks cannot be added");
}

sinter_status vec_module_object(vec_module *m, uint8_t **out, size_t *out_size)
{
   LLVMMemoryBufferRef buffer;
   char *why = NULL;

   if (LLVMVerifyModule(m->mod, LLVMReturnStatusAction, &why))
      return fail_with(m, why, "generated code is not valid");
   LLVMDisposeMessage(why);
   why = NULL;
   if (m->sanitize)
      SINTER_TRY(add_address_checks(m));
   if (LLVMTargetMachineEmitToMemoryBuffer(m->machine, m->mod, LLVMObjectFile, &why, &buffer))
      return fail_with(m, why, "no object could be made");
   *out_size = LLVMGetBufferSize(buffer);
   *out = malloc(*out_size);
   if (*out)
      memcpy(*out, LLVMGetBufferStart(buffer), *out_size);
   LLVMDisposeMemoryBuffer(buffer);
   return *out ? SINTER_ok : base_fail(SINTER_out_of_memory, "", "", "no memory for an object");
}

char *vec_module_text(vec_module *m)
{
   return LLVMPrintModuleToString(m->mod);
}

void vec_text_free(char *text)
{
   LLVMDisposeMessage(text);
}

/* ---- intrinsics ---- */

static vec_value call(vec_fn *f, LLVMValueRef fn, uint32_t n, const vec_value *args)
{
   LLVMTypeRef type = LLVMGlobalGetValueType(fn), params[8];
   LLVMValueRef list[8];

   assert(n <= countof(list) && LLVMCountParamTypes(type) == n && "another LLVM's signature");
   LLVMGetParamTypes(type, params);
   for (uint32_t i = 0; i < n; i++)
      list[i] = LLVMTypeOf(args[i]) == params[i] ? args[i]
                                                 : LLVMBuildBitCast(f->b, args[i], params[i], "");
   return LLVMBuildCall2(f->b, type, fn, list, n, "");
}

vec_value vec_overloaded(vec_fn *f, const char *name, uint32_t num_types, LLVMTypeRef *types,
                         uint32_t n, const vec_value *args)
{
   unsigned id = LLVMLookupIntrinsicID(name, strlen(name));

   assert(id && "unknown intrinsic");
   return call(f, LLVMGetIntrinsicDeclaration(f->m->mod, id, types, num_types), n, args);
}

vec_value vec_intrinsic(vec_fn *f, const char *name, uint32_t n, const vec_value *args)
{
   return vec_overloaded(f, name, 0, NULL, n, args);
}

vec_value vec_intrinsic_like(vec_fn *f, const char *name, vec_value like, uint32_t n,
                             const vec_value *args)
{
   LLVMTypeRef type = LLVMTypeOf(like);

   return vec_overloaded(f, name, 1, &type, n, args);
}

static vec_value pointwise(vec_fn *f, const char *name, uint32_t n, const vec_value *args)
{
   return vec_intrinsic_like(f, name, args[0], n, args);
}

vec_value vec_fma(vec_fn *f, vec_value a, vec_value b, vec_value c)
{
   return pointwise(f, "llvm.fma", 3, (vec_value[]){a, b, c});
}

vec_value vec_fabs(vec_fn *f, vec_value a)
{
   return pointwise(f, "llvm.fabs", 1, &a);
}

vec_value vec_sqrt(vec_fn *f, vec_value a)
{
   return pointwise(f, "llvm.sqrt", 1, &a);
}

vec_value vec_round(vec_fn *f, vec_value a)
{
   return pointwise(f, "llvm.rint", 1, &a);
}

void vec_prefetch(vec_fn *f, vec_value ptr)
{
   LLVMTypeRef type = LLVMTypeOf(ptr);
   vec_value args[] = {ptr, vec_int(f, VEC_i32, 1, 0), vec_int(f, VEC_i32, 1, 3),
                       vec_int(f, VEC_i32, 1, 1)};

   vec_overloaded(f, "llvm.prefetch", 1, &type, 4, args);
}
