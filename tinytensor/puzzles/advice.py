"""What a learner may look at, for each reason why a file does not solve a puzzle."""

from __future__ import annotations

ADVICE = {
    "uninitialized": "no thread wrote this element: are there enough blocks and threads, "
    "and is the index right?",
    "out of bounds": "a thread without an element must not read or write: if (i < n) …",
    "misaligned access": "16 bytes at once need an address that is a multiple of 16",
    "uninitialized shared read": "write s first, for each thread, also at the end of x; then __syncthreads()",
    "uninitialized global read": "memory holds no zeros at first: write it before you read it",
    "shared race": "put __syncthreads() between the two lines; in a loop, also before the next round writes",
    "global race": "two threads use one element, and one writes: make their indices differ, or use atomicAdd",
    "divergent barrier": "all threads of a block must reach __syncthreads(): move it out of the if",
    "divergent warp operation": "all lanes of the mask must reach the same shuffle: move it out of the if",
    "wrong mask": "the mask has one bit for each lane that takes part",
    "deadlock": "some threads wait for others, which never come",
    "division by zero": "an integer is divided by 0: look at the sizes of this run",
    "changed input": "write results into the outputs, and work in __shared__ or scratch memory",
    "time limit": "does a loop not end, or does the launch have far more threads than elements?",
    "traffic": "lines with less than 100% used move bytes for nothing: neighboring threads should use "
    "neighboring elements; and read nothing twice",
    "ways": "in lines with bank ways above 1, threads of a warp use one bank: let their indices differ by 1",
    "lanes": "in lines with few lanes, most threads of a warp rest: let whole warps work, or none of a warp",
    "requests": "the table counts the requests of each line: let one request of a warp serve more lanes, or "
    "load 16 bytes at once",
}
