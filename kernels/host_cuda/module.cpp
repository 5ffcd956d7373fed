#include "kernels/host_cuda/module.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <vector>

#include "kernels/host_cuda/control.h"

namespace pneuma::host_cuda {
namespace {

std::string demangled(const std::string& symbol) {
  int status = 0;
  char* text = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
  std::string name = text ? text : symbol;
  std::free(text);
  return name;
}

// "void a::kernel<int>(int*)" -> "a::kernel<int>"
std::string without_signature(std::string name) {
  if (name.back() == ')') {
    int depth = 0;
    size_t i = name.size();
    while (i-- > 0) {
      depth += (name[i] == ')') - (name[i] == '(');
      if (!depth) break;
    }
    name.resize(i);
  }
  int depth = 0;
  for (size_t i = name.size(); i-- > 0;) {
    depth += (name[i] == '>' || name[i] == ')') - (name[i] == '<' || name[i] == '(');
    if (!depth && name[i] == ' ') return name.substr(i + 1);
  }
  return name;
}

struct Module {
  uintptr_t base = 0;
  std::map<uintptr_t, std::string> functions;              // mangled
  std::vector<SharedArray> arrays;                         // mangled, by begin
  std::vector<std::pair<uintptr_t, uintptr_t>> constants;  // [begin, end)

  Module();
  void read_symbols(const std::vector<char>& file);
};

Module::Module() {
  Dl_info info{};
  dladdr(reinterpret_cast<void*>(pneuma_host_cuda), &info);
  base = uintptr_t(info.dli_fbase);
  dl_iterate_phdr(
      [](dl_phdr_info* part, size_t, void* self) {
        Module& m = *static_cast<Module*>(self);
        bool mine = false;
        std::vector<std::pair<uintptr_t, uintptr_t>> found;
        for (int i = 0; i < part->dlpi_phnum; ++i) {
          const auto& h = part->dlpi_phdr[i];
          const uintptr_t begin = part->dlpi_addr + h.p_vaddr, end = begin + h.p_memsz;
          const uintptr_t here = uintptr_t(reinterpret_cast<void*>(pneuma_host_cuda));
          if (h.p_type == PT_LOAD && here >= begin && here < end) mine = true;
          if ((h.p_type == PT_LOAD && !(h.p_flags & PF_W)) || h.p_type == PT_GNU_RELRO)
            found.emplace_back(begin, end);
        }
        if (!mine) return 0;
        m.constants = found;
        m.base = part->dlpi_addr;
        return 1;
      },
      this);
  const std::string path =
      info.dli_fname && std::ifstream(info.dli_fname).good() ? info.dli_fname : "/proc/self/exe";
  std::ifstream in(path, std::ios::binary);
  read_symbols({std::istreambuf_iterator<char>(in), {}});
}

void Module::read_symbols(const std::vector<char>& file) {
  if (file.size() < sizeof(ElfW(Ehdr))) return;
  const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(file.data());
  if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) || !header->e_shoff) return;
  const auto* sections = reinterpret_cast<const ElfW(Shdr)*>(file.data() + header->e_shoff);
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto* symbols = reinterpret_cast<const ElfW(Sym)*>(file.data() + sections[i].sh_offset);
    const char* names = file.data() + sections[sections[i].sh_link].sh_offset;
    for (size_t s = 0; s < sections[i].sh_size / sizeof(*symbols); ++s) {
      const auto& symbol = symbols[s];
      const char* name = names + symbol.st_name;
      const int type = ELF64_ST_TYPE(symbol.st_info);
      if (type == STT_FUNC) functions[base + symbol.st_value] = name;
      if (type == STT_TLS && symbol.st_size)
        arrays.push_back({symbol.st_value, symbol.st_size, name});
    }
  }
  std::sort(arrays.begin(), arrays.end(),
            [](const SharedArray& a, const SharedArray& b) { return a.begin < b.begin; });
}

const Module& module() {
  static const Module& all = *new Module;
  return all;
}

}  // namespace

std::string name_of_function(const void* function) {
  const auto found = module().functions.find(uintptr_t(function));
  return found == module().functions.end() ? "kernel" : without_signature(demangled(found->second));
}

size_t static_shared_of(const void* function) {
  const auto found = module().functions.find(uintptr_t(function));
  if (found == module().functions.end() || found->second.size() < 2) return 0;
  // A variable of a function is named _ZZ<the function>E<the variable>.
  const std::string prefix = "_ZZ" + found->second.substr(2) + "E";
  size_t bytes = 0;
  for (const SharedArray& a : module().arrays)
    if (a.name.compare(0, prefix.size(), prefix) == 0) bytes += a.bytes;
  return bytes;
}

bool is_constant(uintptr_t address, size_t bytes) {
  for (const auto& [begin, end] : module().constants)
    if (address >= begin && address + bytes <= end) return true;
  return false;
}

const SharedArray* shared_array(size_t offset) {
  const auto& arrays = module().arrays;
  const auto after =
      std::upper_bound(arrays.begin(), arrays.end(), offset,
                       [](size_t at, const SharedArray& array) { return at < array.begin; });
  return after == arrays.begin() ? nullptr : &*std::prev(after);
}

std::string name_of_shared(size_t offset) {
  const SharedArray* array = shared_array(offset);
  if (!array) return "shared memory";
  const std::string name = demangled(array->name);
  const size_t colon = name.rfind("::");
  return name.substr(colon == std::string::npos ? 0 : colon + 2) + " byte " +
         std::to_string(offset - array->begin);
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
