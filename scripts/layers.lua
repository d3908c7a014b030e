-- layers.lua -- the layers of src/: which part and which folder may include which, and where each
-- foreign library is used.
--
-- scripts/check_layers.lua compares the code with these tables, tests/lua/docs_layers_spec.lua the
-- picture of docs/architecture.md. A new part, folder or library goes in here first.

local layers = {}

---What a part, a folder of src/, may include of the other parts.
---@type table<string, string[]>
layers.parts = {
  base    = {},
  core    = { "base" },
  net     = { "base", "core" },
  script  = { "base", "core" },
  cluster = { "base", "core" },
  server  = { "base", "core", "net", "script", "cluster" },
  main    = { "base", "server" },
}

---What a folder of a part may include of the part's other folders. "." has the part's own files.
---@type table<string, table<string, string[]>>
layers.folders = {
  base = {
    ["."] = {},
    log = { "." },
  },
  core = {
    frames = {},
    store = {},
    bus = { "frames" },
    http = {},
    upstream = {},
    cosocket = { "http" },
    hub = { "frames", "bus", "http" },
  },
  net = {
    socket = {},
    http = { "socket" },
    ws = { "socket", "http" },
    listen = { "socket", "http" },
    client = { "http" },
    upstream = { "socket", "client" },
    cosocket = { "socket" },
  },
  script = {
    json = {},
    jwt = {},
    http_client = {},
    files = {},
    children = {},
    plain = {},
    vm = { "json", "jwt", "http_client" },
    pool = { "plain", "vm" },
    bind = { "vm", "json", "http_client", "files", "children", "plain", "pool" },
  },
  cluster = {
    redis = {},
    node = { "redis" },
    link = { "redis", "node" },
  },
  server = {
    listen = {},
    state = {},
    workers = { "listen", "state" },
    upgrade = { "listen" },
    ["."] = { "listen", "state", "workers", "upgrade" },
    cli = { ".", "upgrade" },
  },
  main = {
    ["."] = {},
  },
}

---Headers that only the files of the same folder include.
---@type table<string, true>
layers.private = {
  ["cluster/node/node_parts.h"] = true,
  ["cluster/link/cluster_link_parts.h"] = true,
  ["cluster/node/session_parts.h"] = true,
  ["core/bus/bus_parts.h"] = true,
  ["core/hub/conn.h"] = true,
  ["core/hub/hub_close.h"] = true,
  ["core/hub/hub_internal.h"] = true,
  ["core/hub/inbox.h"] = true,
  ["core/hub/room.h"] = true,
  ["script/json/json_c_parts.h"] = true,
  ["server/state/state_parts.h"] = true,
}

---Libraries and functions of the system that only some parts, folders or files use (`places`):
---patterns for the name in #include <...>, and for words of the code.
---@type { what: string, places: string[], headers: string[], words: string[]|nil }[]
layers.foreign = {
  { places = { "net/upstream/upstream_socket.c" }, what = "libwebsockets",
    headers = { "^libwebsockets" },
    words = { "lws_[%w_]+", "LWS_[%w_]+" } },
  { places = { "net/socket", "net/client/client_socket.c",
               "net/client/ws_client.c", "net/http/handshake.c",
               "cluster/node/session_key.c" },
    what = "OpenSSL", headers = { "^openssl/" } },
  { places = { "core/frames/compressor.c", "core/frames/decompressor.c",
               "server/state/state_file.c" },
    what = "zlib",
    headers = { "^zlib%.h" } },
  { places = { "script" }, what = "Lua",
    headers = { "^lua%.h", "^lauxlib%.h", "^lualib%.h", "^lua5", "luv" } },
  { places = { "script/jwt" }, what = "libjwt", headers = { "^jwt" } },
  { places = { "script/http_client" }, what = "libcurl", headers = { "^curl/" } },
  { places = { "server/syscall_filter.c" }, what = "libseccomp", headers = { "^seccomp%.h" } },
  { places = { "cluster" }, what = "Redis", headers = { "hiredis" } },
  { places = { "server" }, what = "threads", headers = { "^pthread%.h", "^threads%.h" },
    words = { "uv_thread_create", "pthread_create", "thrd_create" } },
  { places = { "server", "base/signal_mask.h", "net/upstream/upstream_socket.c" },
    what = "signals",
    headers = { "^signal%.h", "^sys/signalfd%.h" },
    words = { "uv_signal_init", "uv_signal_start", "sigaction" } },
}

---Files of core that are tested without a loop, by their names.
---@type table<string, true>
layers.without_loop = { message = true, outq = true, conn = true, room = true, hub = true }

return layers
