/* header.cpp - the public header is C++, too. Kills: designators, compound literals, implicit casts. */
#include "sinter.h"

int main()
{
   sinter_request_options options = SINTER_INIT(sinter_request_options);

   options.sampling = SINTER_SAMPLING_GREEDY;
   return options.size != sizeof options || options.sampling.top_p != 1;
}
