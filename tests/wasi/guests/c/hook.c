/* A WASI reactor in C: stdio, clock and chance from wasi-libc, a header set from them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT(name) __attribute__((export_name(name)))

static _Alignas(8) uint8_t buffer[1 << 16]; /* the exchange buffer */
static uint8_t result[256];
static int started;

__attribute__((constructor)) static void start(void) { started = 1; }

EXPORT("ph_abi_version") int32_t abi_version(void) { return 1; }

EXPORT("ph_alloc") void *alloc(uint32_t size) {
  if (size > sizeof buffer) abort();
  return buffer;
}

EXPORT("on_request") uint64_t on_request(uint32_t length) {
  uint8_t chance[16];
  struct timespec now;
  if (!started || getentropy(chance, sizeof chance) || clock_gettime(CLOCK_REALTIME, &now)) abort();
  printf("a record of %u bytes", length);
  printf("\n");
  fprintf(stderr, "in year %d\n", gmtime(&now.tv_sec)->tm_year + 1900);
  if (getchar() != EOF || fopen("/etc/passwd", "r") || getenv("PATH")) abort();

  const char name[] = "x-guest";
  char value[128];
  int size = snprintf(value, sizeof value, "c %lld ", (long long)now.tv_sec);
  for (unsigned i = 0; i < sizeof chance; i++) size += sprintf(value + size, "%02x", chance[i]);
  uint8_t head[] = {1, 3, 0, 0, 1, 0, sizeof name - 1, 0, (uint8_t)size, 0, 0, 0};
  memcpy(result, head, sizeof head);
  memcpy(result + sizeof head, name, sizeof name - 1);
  memcpy(result + sizeof head + sizeof name - 1, value, (size_t)size);
  uint64_t total = sizeof head + sizeof name - 1 + (size_t)size;
  return (uint64_t)(uintptr_t)result << 32 | total;
}

EXPORT("leave") uint64_t leave(uint32_t code) { exit((int)code); }

EXPORT("wait") uint64_t wait_milliseconds(uint32_t length) {
  buffer[length] = 0;
  usleep((useconds_t)atoi((char *)buffer) * 1000);
  return (uint64_t)(uintptr_t)buffer << 32 | length;
}
