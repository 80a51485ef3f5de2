/* quant_form.c - which forms of quant a kernel of the target makes.
 *
 *    row kernels                 every form, if the target has codes of that type
 *    matmuls, attentions         groups up to a tile's columns; on a CPU the packed form only, which
 *                                its int8 kernels read */
#include "pass.h"

enum { PACKED_GROUP = 32 };

bool pass_quant_is_packed(const ir_op *op)
{
   int64_t row = ir_type_row(&op->operands[0]->type);

   return op->results[0]->type.dtype == DT_i8 && op->num_operands == 1 && op->num_attrs == 1 &&
          ir_attr_i(op, IR_ATTR_group, 0) == PACKED_GROUP && row % PACKED_GROUP == 0;
}

bool pass_has_codes(pass_site *s, const ir_op *quant)
{
   const arch_info *arch = s->target->arch;
   dtype code = quant->results[0]->type.dtype;
   bool fits = code == DT_i8 || !arch || (code == DT_f8e4m3 && arch->fp8 == ARCH_FP8_OCP) ||
               (code == DT_f8e4m3fnuz && arch->fp8 == ARCH_FP8_FNUZ);

   return fits || pass_decline(s, "%s has no %s", s->target->name, dtype_infos[code].name);
}

bool pass_fits_epilogue(pass_site *s, const ir_op *quant)
{
   int64_t group = ir_attr_i(quant, IR_ATTR_group, 0);

   if (group > s->target->epilogue_quant)
      return pass_decline(s, "the target's kernel quantises groups of at most %u, not of %lld",
                          s->target->epilogue_quant, (long long)group);
   if (!s->target->arch && !pass_quant_is_packed(quant))
      return pass_decline(s, "a CPU's matmuls and attentions make the codes that its int8 kernels "
                             "read, and no others");
   return pass_has_codes(s, quant);
}
