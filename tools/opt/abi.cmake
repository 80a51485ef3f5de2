# Writes OUT: a header with a hash over INPUTS, in the order given.
set(all "")
foreach(input ${INPUTS})
   file(SHA256 ${input} digest)
   get_filename_component(name ${input} NAME)
   string(APPEND all "${name} ${digest}\n")
endforeach()
string(SHA256 abi "${all}")
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define SINTER_PASS_ABI \"${abi}\"\n")
