#include "netfilter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/ipset.h"
#include "../core/netlink.h"
#include "../core/nftables.h"
#include "../core/xtables.h"
#include "value.h"

enum { NAME_BYTES = 128, MAX_CHAINS = 256 };

/* openNetfilter(): number - a netlink socket for the calls below, and for those on connections. */
static napi_value open_netfilter(napi_env env, napi_callback_info info) {
  napi_value result = NULL;
  const char *step = "";
  (void)info;
  int fd = ks_netlink_open(&step);
  if (fd < 0)
    ks_throw_errno(env, fd, step);
  else
    napi_create_int32(env, fd, &result);
  return result;
}

/* What the texts of one operation need while it is appended. */
struct texts {
  char table[NAME_BYTES], set[NAME_BYTES];
  char chains[MAX_CHAINS][NAME_BYTES];
  const char *chain_pointers[MAX_CHAINS];
};

static bool read_name(napi_env env, napi_value object, const char *property, char *text) {
  napi_value value;
  if (!ks_read_property(env, object, property, &value))
    return false;
  if (value == NULL)
    return ks_throw_argument(env, "a name is missing");
  return ks_read_text(env, value, text, NAME_BYTES);
}

static bool read_verb(napi_env env, napi_value object, enum ks_nft_verb *verb) {
  char text[NAME_BYTES];
  if (!read_name(env, object, "verb", text))
    return false;
  if (strcmp(text, "add") == 0)
    *verb = KS_NFT_ADD;
  else if (strcmp(text, "delete") == 0)
    *verb = KS_NFT_DELETE;
  else if (strcmp(text, "flush") == 0)
    *verb = KS_NFT_FLUSH;
  else
    return ks_throw_argument(env, "verb must be add, delete or flush");
  return true;
}

static bool read_chains(napi_env env, napi_value object, struct texts *texts,
                        struct ks_nft_operation *operation) {
  napi_value list, item;
  uint32_t length = 0;
  if (!ks_read_property(env, object, "chains", &list))
    return false;
  if (list == NULL)
    return true;
  if (napi_get_array_length(env, list, &length) != napi_ok || length > MAX_CHAINS)
    return ks_throw_argument(env, "chains must be an array of at most 256");
  for (uint32_t i = 0; i < length; i++) {
    if (napi_get_element(env, list, i, &item) != napi_ok ||
        !ks_read_text(env, item, texts->chains[i], NAME_BYTES))
      return false;
    texts->chain_pointers[i] = texts->chains[i];
  }
  operation->chains = texts->chain_pointers;
  operation->chain_count = length;
  return true;
}

/* An array property that may be absent: *data stays NULL then. */
static bool read_optional(napi_env env, napi_value object, const char *property,
                          napi_typedarray_type type, size_t length, void **data) {
  napi_value value;
  if (!ks_read_property(env, object, property, &value))
    return false;
  return value == NULL || ks_read_array(env, value, type, length, data);
}

static bool read_arrays(napi_env env, napi_value object, struct ks_nft_operation *operation) {
  void *keys = NULL, *ends = NULL, *data = NULL, *verdicts = NULL, *comments = NULL,
       *comment_ends = NULL;
  size_t count = operation->count, key_bytes = count * operation->key_length,
         data_bytes = count * operation->data_length;
  if (!read_optional(env, object, "keys", napi_uint8_array, key_bytes, &keys) ||
      !read_optional(env, object, "keyEnds", napi_uint8_array, key_bytes, &ends) ||
      !read_optional(env, object, "data", napi_uint8_array, data_bytes, &data) ||
      !read_optional(env, object, "verdicts", napi_uint32_array, count, &verdicts) ||
      !read_optional(env, object, "commentEnds", napi_uint32_array, count, &comment_ends))
    return false;
  size_t comment_bytes = comment_ends == NULL || count == 0 ? 0 : ((uint32_t *)comment_ends)[count - 1];
  if (!read_optional(env, object, "comments", napi_uint8_array, comment_bytes, &comments))
    return false;
  if ((keys == NULL && count > 0) || (data == NULL && operation->data_length > 0 && count > 0))
    return ks_throw_argument(env, "keys or data are missing");
  operation->keys = keys;
  operation->key_ends = ends;
  operation->data = data;
  operation->verdicts = verdicts;
  operation->comments = comment_ends == NULL ? NULL : comments;
  operation->comment_ends = comment_ends;
  return true;
}

static bool read_operation(napi_env env, napi_value object, struct texts *texts,
                           struct ks_nft_operation *operation) {
  napi_value family_value;
  enum ks_family family;
  memset(operation, 0, sizeof(*operation));
  if (!read_verb(env, object, &operation->verb) ||
      !ks_read_property(env, object, "family", &family_value))
    return false;
  if (family_value == NULL)
    return ks_throw_argument(env, "family is missing");
  if (!ks_read_family(env, family_value, &family) ||
      !read_name(env, object, "table", texts->table) ||
      !read_name(env, object, "set", texts->set) ||
      !ks_read_uint32_property(env, object, "count", &operation->count) ||
      !ks_read_uint32_property(env, object, "keyLength", &operation->key_length) ||
      !ks_read_uint32_property(env, object, "dataLength", &operation->data_length))
    return false;
  if (operation->key_length > KS_NFT_KEY_MAX || operation->data_length > KS_NFT_KEY_MAX)
    return ks_throw_argument(env, "keyLength and dataLength must be at most 64");
  operation->family = (int)family;
  operation->table = texts->table;
  operation->set = texts->set;
  /* Arrays last: their memory is good only as long as no JavaScript (a getter) runs. */
  return read_chains(env, object, texts, operation) && read_arrays(env, object, operation);
}

/* changeElements(fd, operations) - one transaction of nf_tables. */
static napi_value change_elements(napi_env env, napi_callback_info info) {
  napi_value arguments[2], item;
  uint32_t length = 0;
  int fd, error = 0;
  struct ks_netlink_error refusal = {0};
  const char *step = "netlink";
  if (!ks_read_arguments(env, info, 2, arguments) || !ks_read_fd(env, arguments[0], &fd))
    return NULL;
  if (napi_get_array_length(env, arguments[1], &length) != napi_ok) {
    ks_throw_argument(env, "operations must be an array");
    return NULL;
  }
  struct texts *texts = malloc(sizeof(*texts));
  struct ks_nft_batch *batch = ks_nft_batch_new();
  bool is_read = true;
  if (texts == NULL || batch == NULL)
    error = -ENOMEM;
  for (uint32_t i = 0; i < length && !error && is_read; i++) {
    struct ks_nft_operation operation;
    is_read = napi_get_element(env, arguments[1], i, &item) == napi_ok &&
              read_operation(env, item, texts, &operation);
    if (is_read)
      error = ks_nft_batch_add(batch, &operation);
  }
  if (!error && is_read)
    error = ks_nft_batch_send(batch, fd, &refusal, &step);
  free(texts);
  if (batch != NULL)
    ks_nft_batch_free(batch);
  if (error && is_read)
    ks_throw_kernel(env, error, step, refusal.text);
  return NULL;
}

static bool add_array(napi_env env, napi_value object, const char *name, napi_typedarray_type type,
                      const void *bytes, size_t count) {
  napi_value buffer, array;
  void *data = NULL;
  size_t size = count * (type == napi_uint32_array ? sizeof(uint32_t) : 1);
  if (napi_create_arraybuffer(env, size, &data, &buffer) != napi_ok)
    return false;
  if (size > 0)
    memcpy(data, bytes, size);
  return napi_create_typedarray(env, type, count, buffer, 0, &array) == napi_ok &&
         napi_set_named_property(env, object, name, array) == napi_ok;
}

static bool add_number(napi_env env, napi_value object, const char *name, uint32_t number) {
  napi_value value;
  return napi_create_uint32(env, number, &value) == napi_ok &&
         napi_set_named_property(env, object, name, value) == napi_ok;
}

static napi_value elements_value(napi_env env, const struct ks_nft_elements *elements) {
  napi_value object;
  size_t count = elements->count;
  if (napi_create_object(env, &object) != napi_ok ||
      !add_number(env, object, "count", elements->count) ||
      !add_number(env, object, "keyLength", elements->key_length) ||
      !add_number(env, object, "dataLength", elements->data_length) ||
      !add_array(env, object, "keys", napi_uint8_array, elements->keys,
                 count * elements->key_length) ||
      !add_array(env, object, "data", napi_uint8_array, elements->data,
                 count * elements->data_length) ||
      !add_array(env, object, "comments", napi_uint8_array, elements->comments,
                 elements->comment_bytes) ||
      !add_array(env, object, "commentEnds", napi_uint32_array, elements->comment_ends, count))
    return NULL;
  return object;
}

/* dumpElements(fd, family, table, set) - every element of a set or map. */
static napi_value dump_elements(napi_env env, napi_callback_info info) {
  napi_value arguments[4], result = NULL;
  char table[NAME_BYTES], set[NAME_BYTES];
  enum ks_family family;
  struct ks_nft_elements elements = {0};
  struct ks_netlink_error refusal = {0};
  const char *step = "";
  int fd;
  if (!ks_read_arguments(env, info, 4, arguments) || !ks_read_fd(env, arguments[0], &fd) ||
      !ks_read_family(env, arguments[1], &family) ||
      !ks_read_text(env, arguments[2], table, sizeof(table)) ||
      !ks_read_text(env, arguments[3], set, sizeof(set)))
    return NULL;
  int error = ks_nft_dump(fd, (int)family, table, set, &elements, &refusal, &step);
  if (error)
    ks_throw_kernel(env, error, step, refusal.text);
  else
    result = elements_value(env, &elements);
  ks_nft_elements_free(&elements);
  return result;
}

/* countRules(fd, family, table, chain): number - '' as chain: of the whole table. */
static napi_value count_rules(napi_env env, napi_callback_info info) {
  napi_value arguments[4], result = NULL;
  char table[NAME_BYTES], chain[NAME_BYTES];
  enum ks_family family;
  struct ks_netlink_error refusal = {0};
  const char *step = "";
  uint32_t count = 0;
  int fd;
  if (!ks_read_arguments(env, info, 4, arguments) || !ks_read_fd(env, arguments[0], &fd) ||
      !ks_read_family(env, arguments[1], &family) ||
      !ks_read_text(env, arguments[2], table, sizeof(table)) ||
      !ks_read_text(env, arguments[3], chain, sizeof(chain)))
    return NULL;
  int error = ks_nft_count_rules(fd, (int)family, table, chain[0] == 0 ? NULL : chain, &count,
                                 &refusal, &step);
  if (error)
    ks_throw_kernel(env, error, step, refusal.text);
  else
    napi_create_uint32(env, count, &result);
  return result;
}

/* legacyTableSize(family, table): { entries, bytes } */
static napi_value legacy_table_size(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result = NULL;
  char table[NAME_BYTES];
  enum ks_family family;
  struct ks_xtables_size size = {0};
  const char *step = "";
  if (!ks_read_arguments(env, info, 2, arguments) ||
      !ks_read_family(env, arguments[0], &family) ||
      !ks_read_text(env, arguments[1], table, sizeof(table)))
    return NULL;
  int error = ks_xtables_size(family, table, &size, &step);
  if (error)
    ks_throw_errno(env, error, step);
  else if (napi_create_object(env, &result) != napi_ok ||
           !add_number(env, result, "entries", size.entries) ||
           !add_number(env, result, "bytes", size.bytes))
    return NULL;
  return result;
}

/* changeIpset(fd, set, family, isAdd, entries, count) */
static napi_value change_ipset(napi_env env, napi_callback_info info) {
  napi_value arguments[6];
  char set[NAME_BYTES];
  enum ks_family family;
  struct ks_netlink_error refusal = {0};
  const char *step = "";
  void *entries = NULL;
  uint32_t count = 0;
  bool is_add = false;
  int fd;
  if (!ks_read_arguments(env, info, 6, arguments) || !ks_read_fd(env, arguments[0], &fd) ||
      !ks_read_text(env, arguments[1], set, sizeof(set)) ||
      !ks_read_family(env, arguments[2], &family))
    return NULL;
  if (napi_get_value_bool(env, arguments[3], &is_add) != napi_ok ||
      napi_get_value_uint32(env, arguments[5], &count) != napi_ok) {
    ks_throw_argument(env, "isAdd or count is missing");
    return NULL;
  }
  size_t bytes = (size_t)count * (family == KS_IPV6 ? 20 : 8);
  if (!ks_read_array(env, arguments[4], napi_uint8_array, bytes, &entries))
    return NULL;
  int error = ks_ipset_change(fd, set, (int)family, is_add, entries, count, &refusal, &step);
  if (error)
    ks_throw_kernel(env, error, step, refusal.text);
  return NULL;
}

napi_status ks_binding_netfilter(napi_env env, napi_value exports) {
  const napi_property_attributes attributes = napi_enumerable;
  const napi_property_descriptor calls[] = {
      {"openNetfilter", NULL, open_netfilter, NULL, NULL, NULL, attributes, NULL},
      {"changeElements", NULL, change_elements, NULL, NULL, NULL, attributes, NULL},
      {"dumpElements", NULL, dump_elements, NULL, NULL, NULL, attributes, NULL},
      {"countRules", NULL, count_rules, NULL, NULL, NULL, attributes, NULL},
      {"legacyTableSize", NULL, legacy_table_size, NULL, NULL, NULL, attributes, NULL},
      {"changeIpset", NULL, change_ipset, NULL, NULL, NULL, attributes, NULL},
  };
  return napi_define_properties(env, exports, sizeof(calls) / sizeof(calls[0]), calls);
}
