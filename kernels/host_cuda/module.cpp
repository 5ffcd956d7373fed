#include "kernels/host_cuda/module.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <vector>

#include "kernels/host_cuda/control.h"

namespace pneuma::host_cuda {
namespace {

constexpr const char* kDynamic = "dynamic_shared_memoryE";

std::string demangled(const std::string& symbol) {
  int status = 0;
  char* text = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
  std::string name = text ? text : symbol;
  std::free(text);
  return name;
}

// "void a::kernel<int>(int*)" -> "a::kernel<int>": what lies between the last space and the last
// parenthesis outside of all brackets.
std::string without_signature(const std::string& name) {
  size_t begin = 0, end = name.size();
  int depth = 0;
  for (size_t i = name.size(); i-- > 0 && !begin;) {
    depth += (name[i] == ')' || name[i] == '>') - (name[i] == '(' || name[i] == '<');
    if (!depth && name[i] == '(' && end == name.size()) end = i;
    if (!depth && name[i] == ' ') begin = i + 1;
  }
  return name.substr(begin, end - begin);
}

struct Module {
  uintptr_t base = 0;                                      // what its addresses are relative to
  std::map<uintptr_t, std::string> functions;              // mangled
  std::vector<std::pair<uintptr_t, uintptr_t>> constants;  // [begin, end)
  struct Variable {
    size_t begin, bytes;
    std::string name;  // mangled
  };
  std::vector<Variable> variables{{}};  // in shared memory; by number, 0 is none
  std::vector<uint16_t> variable_at;    // [byte of the thread-local block]

  Module() {
    dl_iterate_phdr(
        [](dl_phdr_info* part, size_t, void* self) {
          return int(static_cast<Module*>(self)->read_segments(*part));
        },
        this);
    Dl_info info{};
    dladdr(reinterpret_cast<void*>(pneuma_host_cuda), &info);
    std::ifstream in(info.dli_fname, std::ios::binary);
    if (!in) in.open("/proc/self/exe", std::ios::binary);
    read_symbols({std::istreambuf_iterator<char>(in), {}});
  }

  bool read_segments(const dl_phdr_info& part) {  // true: it is this one
    const auto here = uintptr_t(reinterpret_cast<void*>(pneuma_host_cuda));
    bool mine = false;
    constants.clear();
    for (int i = 0; i < part.dlpi_phnum; ++i) {
      const auto& h = part.dlpi_phdr[i];
      const uintptr_t begin = part.dlpi_addr + h.p_vaddr, end = begin + h.p_memsz;
      mine = mine || (h.p_type == PT_LOAD && here >= begin && here < end);
      if ((h.p_type == PT_LOAD && !(h.p_flags & PF_W)) || h.p_type == PT_GNU_RELRO)
        constants.emplace_back(begin, end);
    }
    base = part.dlpi_addr;
    return mine;
  }

  void read_symbols(const std::vector<char>& file) {
    const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(file.data());
    if (file.size() < sizeof(*header) || !header->e_shoff) return;
    const auto* sections = reinterpret_cast<const ElfW(Shdr)*>(file.data() + header->e_shoff);
    for (int i = 0; i < header->e_shnum; ++i) {
      if (sections[i].sh_type != SHT_SYMTAB) continue;
      const auto* symbol = reinterpret_cast<const ElfW(Sym)*>(file.data() + sections[i].sh_offset);
      const char* names = file.data() + sections[sections[i].sh_link].sh_offset;
      for (size_t n = sections[i].sh_size / sizeof(*symbol); n > 0; --n, ++symbol) {
        const int type = ELF64_ST_TYPE(symbol->st_info);
        const std::string name = names + symbol->st_name;
        if (type == STT_FUNC) functions[base + symbol->st_value] = name;
        // Those of functions, and the dynamic one; the runtime's own thread-local ones are not.
        if (type == STT_TLS && (name.starts_with("_ZZ") || name.ends_with(kDynamic)))
          add_variable({symbol->st_value, symbol->st_size, name});
      }
    }
  }

  void add_variable(const Variable& v) {
    if (variable_at.size() < v.begin + v.bytes) variable_at.resize(v.begin + v.bytes);
    std::fill_n(variable_at.begin() + ptrdiff_t(v.begin), v.bytes, uint16_t(variables.size()));
    variables.push_back(v);
  }
};

const Module& module() {
  static const Module& all = *new Module;
  return all;
}

}  // namespace

std::string name_of_function(const void* function) {
  const auto found = module().functions.find(uintptr_t(function));
  return found == module().functions.end() ? "kernel" : without_signature(demangled(found->second));
}

bool is_constant(uintptr_t address, size_t bytes) {
  for (const auto& [begin, end] : module().constants)
    if (address >= begin && address + bytes <= end) return true;
  return false;
}

uint16_t shared_variable_at(size_t offset) {
  return offset < module().variable_at.size() ? module().variable_at[offset] : 0;
}
size_t shared_variable_bytes(uint16_t number) { return module().variables[number].bytes; }
bool knows_shared_variables() { return module().variables.size() > 1; }

std::string name_of_shared(size_t offset) {
  const Module::Variable* last = nullptr;
  for (const Module::Variable& v : module().variables)
    if (v.bytes && v.begin <= offset && (!last || v.begin > last->begin)) last = &v;
  if (!last) return "unnamed";
  const std::string name = demangled(last->name);
  const size_t colon = name.rfind("::");
  return name.substr(colon == std::string::npos ? 0 : colon + 2) + " byte " +
         std::to_string(offset - last->begin) + " of " + std::to_string(last->bytes);
}

std::pair<uintptr_t, size_t> thread_local_block() {
  std::pair<uintptr_t, size_t> block{};
  dl_iterate_phdr(
      [](dl_phdr_info* part, size_t, void* to) {
        if (part->dlpi_addr != module().base) return 0;
        for (int i = 0; i < part->dlpi_phnum; ++i)
          if (part->dlpi_phdr[i].p_type == PT_TLS)
            *static_cast<std::pair<uintptr_t, size_t>*>(to) = {uintptr_t(part->dlpi_tls_data),
                                                               part->dlpi_phdr[i].p_memsz};
        return 1;
      },
      &block);
  return block;
}

}  // namespace pneuma::host_cuda
