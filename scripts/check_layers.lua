-- Checks the picture of the parts against the #include lines: arrows go down, an edge never sees
-- another edge, each foreign library is in one part only.
--
--   lua5.4 scripts/check_layers.lua [TOP]        TOP: the folder that holds src/ (default: .)
--
-- Reads text, runs no compiler; knows nothing of what the code does. A new part or a new foreign
-- library goes into the two tables below.

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

---What lives in certain parts only, or in one file of a part: patterns for the name in <...>, and words of the code.
local prisons = {
  { parts = { "net" }, file = "transport.c", what = "libwebsockets",
    headers = { "^libwebsockets" } },
  { parts = { "script" }, what = "Lua", headers = { "^lua%.h", "^lauxlib%.h", "^lualib%.h", "^lua5", "luv" } },
  { parts = { "script" }, what = "libjwt", headers = { "^jwt" } },
  { parts = { "script" }, what = "libcurl", headers = { "^curl/" } },
  { parts = { "cluster" }, what = "Redis", headers = { "hiredis" } },
  { parts = { "server" }, what = "threads", headers = { "^pthread%.h", "^threads%.h" },
    words = { "uv_thread_create", "pthread_create", "thrd_create" } },
  { parts = { "server", "base" }, what = "signals", headers = { "^signal%.h" } },
  { parts = { "server" }, what = "signals", headers = { "^sys/signalfd%.h" },
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
  if other ~= part and not contains(may_see[part], other) then
    problem(path, number, '#include "%s": %s may not see %s, only %s', name, part, other,
      #may_see[part] > 0 and table.concat(may_see[part], ", ") or "itself")
  end
end

local function check_foreign(path, part, name, number)
  for _, prison in ipairs(prisons) do
    for _, pattern in ipairs(prison.headers) do
      local allowed = contains(prison.parts, part) and (not prison.file or path:match "[^/]+$" == prison.file)
      if name:find(pattern) and not allowed then
        problem(path, number, "#include <%s>: %s only in src/%s/%s", name, prison.what,
          table.concat(prison.parts, "/, src/"), prison.file or "")
      end
    end
  end
  if part == "core" and name == "uv.h" and without_loop[path:match "([%w_]+)%.[ch]$"] then
    problem(path, number, "#include <uv.h>: this file is tested without a loop and must not need one")
  end
end

local function check_words(path, part, line, number)
  for _, prison in ipairs(prisons) do
    for _, word in ipairs(prison.words or {}) do
      if line:find("%f[%w_]" .. word .. "%f[^%w_]") and not contains(prison.parts, part) then
        problem(path, number, "%s: %s only in src/%s/", word, prison.what,
          table.concat(prison.parts, "/, src/"))
      end
    end
  end
end

for _, path in ipairs(files) do
  local part = part_of(path)
  own_includes[path] = {}
  if not may_see[part] then
    problem(path, 1, "the part '%s' is not in the picture; put it into scripts/check_layers.lua", part)
  else
    for number, line in ipairs(code_lines(path)) do
      local own = line:match '^%s*#%s*include%s*"([^"]+)"'
      local foreign = line:match "^%s*#%s*include%s*<([^>]+)>"
      if own then
        check_own(path, part, own, number)
      elseif foreign then
        check_foreign(path, part, foreign, number)
      else
        check_words(path, part, line, number)
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
