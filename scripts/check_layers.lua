-- Checks the picture of the parts against the #include lines: arrows go down, an edge never sees
-- another edge, a room of a part (src/core/hub/) sees only the rooms that are named for it, a
-- private header is included by its own room alone, and each foreign library is used in one place.
--
--   lua5.4 scripts/check_layers.lua [TOP]        TOP: the folder that holds src/ (default: .)
--
-- Reads text, runs no compiler; knows nothing of what the code does. A new part, a new room or a
-- new foreign library goes into the tables below.

local top = arg[1] or "."

---What a part may include of the others.
---@type table<string, string[]>
local may_see = {
  base    = {},
  core    = { "base" },
  net     = { "base", "core" },
  script  = { "base", "core" },
  cluster = { "base", "core" },
  server  = { "base", "core", "net", "script", "cluster" },
  main    = { "base", "server" },
}

---What a room, a folder of a part, may include of the part's others. "." is the part's own folder.
---@type table<string, table<string, string[]>>
local rooms = {
  base = {
    ["."] = {},
    log = { "." },
  },
  core = {
    frames = {},
    store = {},
    bus = { "frames" },
    http = {},
    hub = { "frames", "bus", "http" },
  },
  net = {
    socket = {},
    http = { "socket" },
    ws = { "socket", "http" },
    listen = { "socket", "http" },
    client = { "http" },
  },
  script = {
    json = {},
    jwt = {},
    http_client = {},
    vm = { "json", "jwt", "http_client" },
    bind = { "vm", "json", "http_client" },
  },
  cluster = {
    ["."] = {},
  },
  server = {
    listen = {},
    workers = { "listen" },
    upgrade = { "listen" },
    watch = {},
    ["."] = { "listen", "workers", "upgrade", "watch" },
    cli = { ".", "upgrade" },
  },
  main = {
    ["."] = {},
  },
}

---Headers that only the files beside them include.
---@type table<string, true>
local private = {
  ["core/bus/bus_parts.h"] = true,
  ["core/hub/conn.h"] = true,
  ["core/hub/hub_close.h"] = true,
  ["core/hub/hub_internal.h"] = true,
  ["core/hub/inbox.h"] = true,
  ["core/hub/room.h"] = true,
}

---What is used in certain places only, which are parts, rooms or files: patterns for the name in
---<...>, and for words of the code.
local foreign = {
  { places = { "net/socket/transport.c" }, what = "libwebsockets", headers = { "^libwebsockets" },
    words = { "lws_[%w_]+", "LWS_[%w_]+" } },
  { places = { "net/socket/tls.c", "net/socket/certificate.c", "net/client/client_socket.c",
               "net/client/ws_client.c", "net/http/handshake.c" },
    what = "OpenSSL", headers = { "^openssl/" } },
  { places = { "script" }, what = "Lua",
    headers = { "^lua%.h", "^lauxlib%.h", "^lualib%.h", "^lua5", "luv" } },
  { places = { "script/jwt" }, what = "libjwt", headers = { "^jwt" } },
  { places = { "script/http_client" }, what = "libcurl", headers = { "^curl/" } },
  { places = { "cluster" }, what = "Redis", headers = { "hiredis" } },
  { places = { "server" }, what = "threads", headers = { "^pthread%.h", "^threads%.h" },
    words = { "uv_thread_create", "pthread_create", "thrd_create" } },
  { places = { "server", "base/signal_mask.h" }, what = "signals",
    headers = { "^signal%.h", "^sys/signalfd%.h" },
    words = { "uv_signal_init", "uv_signal_start", "sigaction" } },
}

---Parts of core that must be testable without a loop.
local without_loop = { message = true, outq = true, conn = true, room = true, hub = true }

local problems = 0
local function problem(file, line, text, ...)
  problems = problems + 1
  print(("src/%s:%d: %s"):format(file, line, text:format(...)))
end

local function contains(list, value)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

---The C files below src/, as paths below it.
local function list_files()
  local files = {}
  local pipe = assert(io.popen(("cd '%s/src' && find . -name '*.[ch]' | sort"):format(top)))
  for path in pipe:lines() do
    files[#files + 1] = path:sub(3)
  end
  assert(pipe:close(), "src/ could not be listed")
  return files
end

---A file's lines, comments and the contents of strings blanked (but for #include's own).
local function code_lines(path)
  local file <close> = assert(io.open(top .. "/src/" .. path))
  local text = file:read "a"
  text = text:gsub("/%*.-%*/", function(comment) return (comment:gsub("[^\n]", " ")) end)
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do
    if not line:find "^%s*#%s*include" then
      line = line:gsub('"[^"]*"', '""')
    end
    lines[#lines + 1] = line:gsub("//.*", "")
  end
  return lines
end

local function part_of(path)
  return path:match "^([%w_]+)/" or path:match "^(main)%.c$" or "?"
end

---The folder of a part that a file is in; "." is the part's own.
local function room_of(path)
  return path:match "^[%w_]+/(.+)/" or "."
end

---Is the file one of these places, or in one of them?
local function is_in(path, places)
  for _, place in ipairs(places) do
    if path == place or path:sub(1, #place + 1) == place .. "/" then return true end
  end
  return false
end

local function list_text(list)
  return #list > 0 and table.concat(list, ", ") or "itself"
end

local files = list_files()
local exists = {}
for _, path in ipairs(files) do exists[path] = true end

---file -> { {name, line}, ... }: what it includes of src/
local own_includes = {}

local function check_own(path, part, name, number)
  if name == "tidewire_version.h" then return end
  if not exists[name] then
    local beside = path:match "^(.*/)" .. name
    problem(path, number, '#include "%s": no such file in src/%s', name,
      exists[beside] and ('; write "%s"'):format(beside) or "")
    return
  end
  table.insert(own_includes[path], { name = name, line = number })
  local other = part_of(name)
  if private[name] and name:match "^(.*)/" ~= path:match "^(.*)/" then
    problem(path, number, '#include "%s": private to src/%s', name, name:match "^(.*)/")
  end
  if other ~= part then
    if not contains(may_see[part], other) then
      problem(path, number, '#include "%s": %s may not see %s, only %s', name, part, other,
        list_text(may_see[part]))
    end
    return
  end
  local room, other_room = room_of(path), room_of(name)
  local allowed = rooms[part][room]
  if room ~= other_room and allowed and not contains(allowed, other_room) then
    problem(path, number, '#include "%s": %s/%s may not see %s/%s, only %s', name, part, room, part,
      other_room, list_text(allowed))
  end
end

local function check_foreign(path, part, name, number)
  for _, library in ipairs(foreign) do
    for _, pattern in ipairs(library.headers) do
      if name:find(pattern) and not is_in(path, library.places) then
        problem(path, number, "#include <%s>: %s only in src/%s", name, library.what,
          table.concat(library.places, ", src/"))
      end
    end
  end
  if part == "core" and name == "uv.h" and without_loop[path:match "([%w_]+)%.[ch]$"] then
    problem(path, number, "#include <uv.h>: this file is tested without a loop and must not need one")
  end
end

local function check_words(path, line, number)
  for _, library in ipairs(foreign) do
    for _, word in ipairs(library.words or {}) do
      local found = line:match("%f[%w_](" .. word .. ")%f[^%w_]")
      if found and not is_in(path, library.places) then
        problem(path, number, "%s: %s only in src/%s", found, library.what,
          table.concat(library.places, ", src/"))
      end
    end
  end
end

for _, path in ipairs(files) do
  local part = part_of(path)
  own_includes[path] = {}
  if not may_see[part] then
    problem(path, 1, "the part '%s' is not in the picture; put it into scripts/check_layers.lua", part)
  elseif not rooms[part][room_of(path)] then
    problem(path, 1, "the room '%s/%s' is not in the picture; put it into scripts/check_layers.lua",
      part, room_of(path))
  else
    for number, line in ipairs(code_lines(path)) do
      local own = line:match '^%s*#%s*include%s*"([^"]+)"'
      local library = line:match "^%s*#%s*include%s*<([^>]+)>"
      if own then
        check_own(path, part, own, number)
      elseif library then
        check_foreign(path, part, library, number)
      else
        check_words(path, line, number)
      end
    end
  end
end

---Two files that include each other, directly or round a corner.
local state = {}
local function visit(path, trail)
  state[path] = "open"
  trail[#trail + 1] = path
  for _, include in ipairs(own_includes[path]) do
    if state[include.name] == "open" then
      problem(path, include.line, '#include "%s" closes a circle: %s -> %s', include.name,
        table.concat(trail, " -> "), include.name)
    elseif not state[include.name] then
      visit(include.name, trail)
    end
  end
  trail[#trail] = nil
  state[path] = "done"
end
for _, path in ipairs(files) do
  if not state[path] then visit(path, {}) end
end

if problems > 0 then
  print(("check_layers: %d problem%s"):format(problems, problems == 1 and "" or "s"))
  os.exit(1)
end
