#include "apps/inspect/kernel.h"

#include <numeric>

#include "apps/common/cli.h"
#include "apps/common/device.h"
#include "apps/inspect/device_code.h"
#include "data/text.h"
#include "kernels/host_cuda/control.h"
#include "kernels/open_backend.h"

namespace pneuma::inspect {
namespace {

using host_cuda::HostCudaControl;
using host_cuda::LaunchRecord;

constexpr double kMostElements = 1e8;  // each is computed by a CPU, under watch

const Precision& precision_of(const std::string& dtype) {
  return dtype == "f16" ? float16() : dtype == "bf16" ? bfloat16() : float32();
}

Shape parse_shape(const std::string& text, const SeamKernel& kernel) {
  const std::vector<std::string_view> fields = split_fields(text, ',');
  const size_t rank = *kernel.shape ? split_fields(kernel.shape, ',').size() : fields.size();
  Shape shape;
  double count = 1;
  for (const std::string_view field : fields) {
    const auto n = parse_number<int64_t>(trim(field));
    if (!n || *n < 1 || (count *= double(*n)) > kMostElements || shape.rank == kMaxRank) break;
    shape.dims[shape.rank++] = *n;
  }
  if (size_t(shape.rank) != rank || fields.size() != rank)
    fail(Exit::usage, "--shape '{}': {} takes {}, no more than {:.0f} elements", printable(text),
         kernel.name, *kernel.shape ? kernel.shape : "1 to 4 whole numbers with commas",
         kMostElements);
  return shape;
}

std::string percent(double part, double whole) {
  return fmt::format("{:.1f} %", whole > 0 ? 100 * part / whole : 0);
}
std::string ratio(double count, double least) {
  return least > 0 ? fmt::format("{:.3f}", count / least) : "-";
}
std::string extent(const uint32_t (&size)[3]) {
  return fmt::format("{} x {} x {}", size[0], size[1], size[2]);
}
uint64_t product(const uint32_t (&size)[3]) { return uint64_t{size[0]} * size[1] * size[2]; }

template <class... Args>
void line(const char* what, fmt::format_string<Args...> format, Args&&... args) {
  fmt::print("  {:<16}{}\n", what, fmt::format(format, std::forward<Args>(args)...));
}

void print_geometry(const LaunchRecord& r, const std::optional<PtxasFigures>& figures) {
  const uint64_t grid = product(r.grid), threads = product(r.block);
  const uint64_t fixed = figures ? uint64_t(figures->shared) : r.static_shared;
  line("launch", "grid {}, block {}: {} blocks of {} threads, {} in all, {} warps a block",
       extent(r.grid), extent(r.block), grid, threads, grid * threads, (threads + 31) / 32);
  line("shared memory", "{} bytes static{}, {} dynamic, of a block", fixed,
       figures ? "" : " (touched)", r.dynamic_shared);
  const Occupancy o =
      occupancy_v100(int(threads), figures ? figures->registers : 0, fixed + r.dynamic_shared);
  const auto blocks = [](int count) {
    return count > Occupancy::kBlocks ? std::string("any") : std::to_string(count);
  };
  const uint64_t at_once = uint64_t(o.blocks()) * threads;
  line("occupancy", "{}{} of {} threads on a multiprocessor of a V100, {}; limited by {}",
       figures ? "" : "at most ", at_once, Occupancy::kThreads,
       percent(double(at_once), Occupancy::kThreads), o.limits());
  line("", "blocks at once: registers allow {}, shared memory {}, threads {}, the chip {}",
       figures ? blocks(o.by_registers) : "an unknown number", blocks(o.by_shared),
       blocks(o.by_threads), Occupancy::kBlocks);
  const int held = std::max(1, o.blocks()) * Occupancy::kMultiprocessors;
  line("", "all {} multiprocessors hold {} blocks at once: {:.3g} waves",
       Occupancy::kMultiprocessors, held, double(grid) / held);
}

void print_traffic(const LaunchRecord& r) {
  line("global memory", "{} transactions (sectors of 32 bytes), the least possible {}: ratio {}",
       r.sectors, r.least_sectors, ratio(double(r.sectors), double(r.least_sectors)));
  line("", "{} bytes read, {} written (one that a block touches again counts once)", r.bytes_read,
       r.bytes_written);
  const uint64_t all = std::accumulate(std::begin(r.accesses), std::end(r.accesses), uint64_t{0});
  std::string sizes;
  for (int i = 4; i >= 0; --i)
    if (r.accesses[i] || i == 4)
      sizes += fmt::format("{}{} bytes {}", sizes.empty() ? "" : ", ", 1 << i,
                           percent(double(r.accesses[i]), double(all)));
  line("accesses", "{} by threads: {}", all, sizes);
  line("bank conflicts", "{} in {} accesses to shared memory", r.bank_conflicts, r.shared_accesses);
  line("divergence", "{} of the lanes of warps inactive, over all accesses",
       percent(double(r.inactive_lanes), double(r.lanes)));
  line("barriers", "{}", r.barriers);
}

// What the pages of a run look things up in.
struct Known {
  std::filesystem::path root, file;  // of the sources; ptxas's report
  std::map<std::string, PtxasFigures> report;
};

void print_source(const Known& known, const std::optional<KernelSource>& source) {
  if (!source)
    return line("source", "{}",
                known.root.empty() ? "there is no source tree on this machine"
                                   : "not found in kernels/cuda");
  line("source", "{}:{}", source->file, source->first_line);
  int number = source->first_line;
  for (const std::string& text : source->lines) fmt::print("{:>6}  {}\n", number++, text);
}

void print_page(const Known& known, const LaunchRecord& r, bool with_source) {
  using std::filesystem::last_write_time;
  const auto figures = figures_of(known.report, r.name);
  const auto source = find_kernel_source(known.root, r.name);
  constexpr const char* kAdvice = "./pneuma test device_code";
  if (figures) {
    line("registers", "{} of a thread, stack {} bytes, spills {} bytes (ptxas, sm_70)",
         figures->registers, figures->stack, figures->spills);
    if (source && last_write_time(known.file) < last_write_time(known.root / source->file))
      line("", "of an older {}: {} looks anew", source->file, kAdvice);
  } else {
    line("registers", "unknown: {} {}; {} makes it", known.file.string(),
         known.report.empty() ? "is not there" : "does not have this kernel", kAdvice);
  }
  print_geometry(r, figures);
  print_traffic(r);
  if (with_source) print_source(known, source);
}

const HostCudaControl& control_of(const Backend& backend) {
  const auto entry = reinterpret_cast<decltype(&pneuma_host_cuda)>(
      plugin_symbol(backend, host_cuda::kControlSymbol));
  if (!entry) fail(Exit::environment, "this host_cuda does not count; build it anew");
  return *entry();
}

// What kernels did since the last time; copies have records too, without a grid.
std::vector<LaunchRecord> take(const HostCudaControl& control) {
  std::vector<LaunchRecord> all;
  for (LaunchRecord one; control.take_launches(&one, 1) == 1;)
    if (one.grid[0]) all.push_back(one);
  return all;
}

void print_total(const Backend& backend, const SeamKernel& kernel, const Traffic& traffic) {
  const double moved = traffic.moved(), floor = traffic.floor;
  if (!kernel.library)
    return line("bytes moved", "{:.0f} in all launches, the floor {:.0f}: ratio {}", moved, floor,
                ratio(moved, floor));
  line("library", "{} does this, unseen: only launches of our own are counted", kernel.library);
  if (backend.device.choices)
    for (const std::string_view choice : split_fields(backend.device.choices(), '\n'))
      if (choice.starts_with(std::string(kernel.name).substr(sizeof "convolution")))
        line("", "{}", choice);
  line("floor", "{:.0f} bytes", floor);
}

void list_kernels(const Backend& backend) {
  fmt::print("{:<30}{:<10}further flags\n", "kernel", "--shape");
  for (const SeamKernel& k : seam_kernels())
    if (k.there(backend.kernels))
      fmt::print("{:<30}{:<10}{}\n", k.name, *k.shape ? k.shape : "any", k.flags);
}

}  // namespace

const SeamKernel& kernel_named(const std::string& name) {
  std::vector<std::string> names;
  for (const SeamKernel& k : seam_kernels()) {
    if (name == k.name) return k;
    names.push_back(k.name);
  }
  const std::string near = nearest(name, names);
  fail(Exit::usage, "unknown kernel '{}'{}; 'inspect_cxr kernel' lists them", printable(name),
       near.empty() ? "" : " (the nearest is " + near + ")");
}

double Traffic::moved() const {
  double bytes = 0;
  for (const LaunchRecord& r : launches) bytes += double(r.bytes_read + r.bytes_written);
  return bytes;
}

Traffic count_traffic(const Backend& backend, const SeamKernel& kernel,
                      const KernelRequest& request, const Precision& precision) {
  const HostCudaControl& control = control_of(backend);
  host_cuda::Settings settings;
  control.get_settings(&settings);
  settings.count_traffic = true;
  control.set_settings(&settings);
  Context ctx(backend, precision);
  Traffic traffic;
  ctx.trace = [&](const Launch& launch) {  // after each kernel, when the device is done with it
    const std::vector<LaunchRecord> made = take(control);
    if (launch.kernel == std::string(kernel.name)) traffic = {made, launch.bytes()};
  };
  run(ctx, kernel, request);
  return traffic;
}

CLI::App* add_kernel_command(CLI::App& app, KernelSettings& s) {
  CLI::App& c = *app.add_subcommand(
      "kernel", "Run one kernel on host_cuda and print what each of its launches does");
  KernelRequest& r = s.request;
  c.add_option("name", s.name, "The kernel, as kernels/kernels.h names it; none: a list");
  c.add_option("--shape", s.shape, "Of its input: N,H,W,C or as the list says");
  c.add_option("--dtype", s.dtype)->check(CLI::IsMember({"f32", "f16", "bf16"}));
  c.add_option("--kernel", r.kernel, "Side of a window (3)")->check(cli::in_range(1, 255));
  c.add_option("--stride", r.stride, "1, of a pool 2")->check(cli::in_range(1, 255));
  c.add_option("--padding", r.padding, "Half the window")->check(cli::in_range(0, 127));
  c.add_option("--channels_out", r.channels_out, "Of convolution and linear (64)")
      ->check(cli::in_range(1, 65536));
  cli::add_switch(c, "--relu", r.relu, "Batch norm with ReLU");
  cli::add_switch(c, "--residual", r.residual, "Batch norm with an added tensor");
  c.add_option("--formula", r.formula, "relu, sigmoid, scale, add or multiply");
  c.add_option("--optimizer", r.optimizer, "sgd, nag, adam or rmsprop");
  cli::add_switch(c, "--source", s.source, "Print each kernel's source");
  c.add_option("--ptxas", s.ptxas, "Report of ptxas (build/ptxas/sm_70.txt)");
  return &c;
}

void inspect_kernel(const KernelSettings& s) {
  const SeamKernel* kernel = s.name.empty() ? nullptr : &kernel_named(s.name);
  KernelRequest request = s.request;
  if (kernel) request.shape = parse_shape(s.shape, *kernel);
  const Backend& backend = device_named("host_cuda", 0);
  if (!kernel) return list_kernels(backend);
  Known known{source_root(), build_folder() / "ptxas/sm_70.txt", {}};
  if (!s.ptxas.empty()) known.file = s.ptxas;
  known.report = read_ptxas_report(known.file);
  const Traffic traffic = count_traffic(backend, *kernel, request, precision_of(s.dtype));
  const std::vector<LaunchRecord>& launches = traffic.launches;
  fmt::print("{} {} {}: {} launch{}\n", kernel->name, s.dtype, request.shape.text(),
             launches.size(), launches.size() == 1 ? "" : "es");
  print_total(backend, *kernel, traffic);
  line("faults", "{} found", control_of(backend).faults(nullptr, 0));
  for (size_t i = 0; i < launches.size(); ++i) {
    fmt::print("\nlaunch {} of {}: {}\n", i + 1, launches.size(), plain_name(launches[i].name));
    print_page(known, launches[i], s.source);
  }
}

}  // namespace pneuma::inspect
