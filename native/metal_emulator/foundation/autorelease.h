// Gives an object to the calling thread's autorelease pool.
#pragma once

#include <objc/objc.h>

namespace metal_emulator {

void autorelease(id object);

}  // namespace metal_emulator
