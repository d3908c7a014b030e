-- fake_core.lua -- `tidewire.core` without the program, for specs of the library under plain Lua.
--
-- install() puts a fake of the C functions into package.preload, so that each tidewire module that
-- is required from then on is a new one on top of it. It returns the world, which records the
-- sends, closes, answers and log lines of scripts. uninstall() restores everything. fake_loop.lua
-- has coroutines and time. Knows no sockets and no hub: a connection here is an integer with a
-- state.

local FakeLoop = require "support.fake_loop"

---@class FakeCore: FakeLoop
---@field core table                  what `require "tidewire.core"` gives
---@field conns table                 by id: { state = "open", rtt =, backlog =, is_full =, code =,
---                                   reason =, endpoint =, object = }
---@field sent table[]                { id =, payload =, kind =, key = }, in order
---@field closes table[]              { id =, code =, reason = }: each call of core.close
---@field logs table[]                { level = "error", event =, conn =, fields = {…}, keys = {…} }
---@field answers table               by number of the request: { status =, headers =, body = } or {
---                                   root =, path = }
---@field endpoints table[]           what core.endpoint was given; the first has the number 0
---@field full table<integer, true>   endpoints that have no place left, by number
---@field pongs table[]               { id =, number = }
---@field pings integer[]             ids of connections that were to be pinged
---@field closed_endpoints table[]     { number, code, reason }
---@field fast_path table<integer, function>  by the endpoint's number: where its messages go, past
---  dispatch.lua
---@field loaded table|nil            the arguments of core.loaded: { app =, problems = }
---@field environ table               what core.environment gives
---@field log_level integer           0 (debug) to 3: lines below it are not recorded
local FakeCore = setmetatable({}, FakeLoop)
FakeCore.__index = FakeCore
FakeCore.__name = "FakeCore"

--- The number of this process that each conn.id begins with.
FakeCore.NODE = "0123456789a"

local raw = { resume = coroutine.resume, wrap = coroutine.wrap }

local LEVELS = { debug = 0, info = 1, warn = 2, error = 3 }
local PLAIN = { string = true, number = true, boolean = true }

--- A light userdata that nothing else is, as C's addresses are: the place of a variable of its own.
local function new_place()
  local variable = {}
  local function keeper()
    return variable
  end
  return debug.upvalueid(keeper, 1), keeper
end

local function copy(from)
  local result = {}
  for key, value in pairs(from) do
    result[key] = value
  end
  return result
end

local function check_integer(value)
  return math.tointeger(value) or error("integer expected, got " .. type(value), 3)
end

local function check_string(value)
  if type(value) ~= "string" and type(value) ~= "number" then
    error("string expected, got " .. type(value), 3)
  end
  return tostring(value)
end

-- ---- sending: bind_conn.c ----

--- `options` is a kind, { kind =, key = } or nil.
local function send(world, id, payload, options, own_kind)
  local kind, key = require("tidewire.send_options").of_send("send", options, 3)
  kind = kind or own_kind
  if kind == "text" and not utf8.len(payload) then
    error('send: text must be valid UTF-8; send other bytes with kind "binary"', 3)
  end
  local conn = world.conns[id]
  if not conn or conn.state ~= "open" then
    return nil, "closed"
  elseif conn.is_full then
    return nil, "backlog"
  end
  table.insert(world.sent, { id = id, payload = payload, kind = kind, key = key })
  return true
end

local function id_of(core, conn)
  if type(conn) ~= "table" then
    error("send: call it with a colon, conn:send(value)", 3)
  end
  return rawget(conn, core.conn_key)
end

local function plain_sender(world, core, own_kind)
  return function(conn, payload, options)
    if type(payload) ~= "string" and type(payload) ~= "number" then
      error(('send: a string is needed, got %s; use the codec "json" or tw.json.encode to send '
        .. 'other values'):format(type(payload)), 2)
    end
    return send(world, id_of(core, conn), tostring(payload), options, own_kind)
  end
end

local function add_senders(world, core)
  local function json_sender(conn, value, options)
    local ok, text = pcall(require("tidewire.json").encode, value)
    if not ok then
      error("send: " .. text, 2)
    end
    return send(world, id_of(core, conn), text, options, "text")
  end
  core.senders = {
    text = plain_sender(world, core, "text"), binary = plain_sender(world, core, "binary"),
    json = json_sender,
  }
  function core.send(id, payload, kind, key)
    if (kind or "text") == "text" and not utf8.len(check_string(payload)) then
      return nil, "utf8"
    end
    return send(world, check_integer(id), check_string(payload), { kind = kind, key = key }, "text")
  end
end

-- ---- connections and endpoints: bind_conn.c, bind_endpoint.c ----

local function add_conns(world, core)
  local function conn_of(id)
    return world.conns[check_integer(id)] or { state = "gone" }
  end

  function core.close(id, code, reason)
    local conn = conn_of(id)
    check_integer(code)
    assert(#(reason or "") <= 123, "bad argument #3: at most 123 bytes")
    table.insert(world.closes, { id = id, code = code, reason = reason or "" })
    if conn.state == "open" then
      conn.state, conn.code, conn.reason = "closing", code, reason or ""
    end
  end

  function core.ping(id)
    if conn_of(id).state ~= "open" then
      return false
    end
    table.insert(world.pings, id)
    return true
  end

  function core.json_pong(id, number)
    table.insert(world.pongs,
      { id = check_integer(id), number = number ~= nil and math.tointeger(number) or 0 })
  end

  function core.json_heartbeat(id, received)
    local conn = conn_of(id)
    conn.heard = received
    return conn.handled
  end

  function core.send_heartbeat(id, text) core.send(id, text) end
  function core.time_out(id) core.close(id, core.close_codes.timed_out, "timed out") end
  function core.is_connected(id) return conn_of(id).state == "open" end
  function core.refuse_resume(id) conn_of(id).refused = true end
  function core.session_exists() return false end

  function core.is_open(id) return conn_of(id).state == "open" end
  function core.rtt(id) return conn_of(id).rtt end
  function core.backlog(id) return conn_of(id).backlog or 0 end
  function core.id_text(id) return ("%s%013x"):format(FakeCore.NODE, check_integer(id)) end

  function core.id_number(text)
    local id = tonumber(text:sub(#FakeCore.NODE + 1), 16)
    return id and core.id_text(id) == text and id or nil
  end

  function core.endpoint(settings, number)
    check_string(settings.json_name)
    number = number or #world.endpoints
    settings.codec_name = check_string(settings.codec)
    settings.codec = ({ text = 0, binary = 1, json = 2 })[settings.codec] or 3 + number
    world.endpoints[number + 1] = settings
    return number, settings.codec
  end

  function core.fast_path(number, f)
    assert(world.endpoints[check_integer(number) + 1] and (f == nil or type(f) == "function"))
    world.fast_path[number] = f
  end

  function core.close_endpoint(number, code, reason)
    table.insert(world.closed_endpoints,
      { check_integer(number), check_integer(code), check_string(reason) })
  end

  function core.endpoint_conns(number)
    local list = {}
    for _, conn in pairs(world.conns) do
      list[#list + 1] = conn.endpoint == check_integer(number) and conn.object or nil
    end
    return list
  end

  local asked = {}
  function core.is_first(subject, number)
    local key = subject .. (number and check_integer(number) or "")
    local is_first = not asked[key]
    asked[key] = true
    return is_first
  end

  function core.set_asked(id, is_asked) conn_of(id).is_asked = is_asked end

  function core.has_cluster() return false end
  function core.room_must_sync() return false end
  function core.set_user(id, user)
    check_integer(id)
    world.conns[id].user = user
  end

  --- Those that have not been forgotten.
  function core.endpoint_taken(number)
    local taken = 0
    for _, conn in pairs(world.conns) do
      taken = taken + (conn.endpoint == number and conn.state ~= "gone" and 1 or 0)
    end
    return taken
  end

  function core.endpoint_full(number) return world.full[check_integer(number)] == true end
end

-- ---- the server: bind_server.c ----

local function add_log(world, core)
  function core.log(level, event, conn, ...)
    local rest = table.pack(...)
    assert(LEVELS[level], "bad argument #1: no level of the log")
    local line = { level = level, event = check_string(event), fields = {}, keys = {} }
    line.conn = conn or world.current and world.current.conn ~= 0 and world.current.conn or nil
    for i = 1, rest.n - 1, 2 do
      assert(type(rest[i]) == "string", "a key must be a string")
      if PLAIN[type(rest[i + 1])] then -- C leaves others out
        table.insert(line.keys, rest[i])
        line.fields[rest[i]] = rest[i + 1]
      end
    end
    if LEVELS[level] >= world.log_level then
      table.insert(world.logs, line)
    end
  end

  function core.log_enabled(level) return LEVELS[level] >= world.log_level end
  function core.logs_refusals() return world.log_level == 0 end
end

local function add_budgets(world, core)
  function core.set_budgets(handler_seconds, load_seconds)
    world.budgets = { handler_seconds, load_seconds }
  end

  function core.default_memory() return 1 << 30 end
  function core.set_room_rules(rules, max_bytes)
    world.room_rules, world.room_memory = rules, check_integer(max_bytes)
  end
  function core.limit_memory(bytes) world.memory_limit = bytes end
  function core.memory() return 1 << 20 end
  function core.memory_error() return "not enough memory: the fake has none" end

  function core.runs_for(id) world.current.owner = check_integer(id) end
  function core.runs_at(number) world.current.budget_of = check_integer(number) end
end

local function add_server(world, core)
  function core.count_error(kind)
    local counter = kind == "decode" and "decode_errors" or "script_errors"
    world.stats[counter] = world.stats[counter] + 1
  end

  function core.respond(number, status, headers, body)
    assert(not world.answers[number], "answered twice")
    world.answers[number] = {
      status = check_integer(status), headers = headers or "", body = body or "",
    }
  end

  function core.respond_file(number, root, path)
    assert(not world.answers[number], "answered twice")
    world.answers[number] = { root = check_string(root), path = check_string(path) }
  end

  function core.client_file(name) return "the file " .. check_string(name) end

  function core.check_address() return true end

  function core.check_trusted_proxy() return true end
  function core.check_cluster_url(text)
    if text:find("^redis") then return true end
    return nil, "it is no URL of a Redis server"
  end
  function core.loaded(app, problems) world.loaded = { app = app, problems = problems } end
  function core.stats() return copy(world.stats) end
  function core.pool_figures() return { calls = 0 } end
  function core.cluster_figures() return {} end
  function core.time() return 1.7e9 + world:now() end
  function core.monotonic() return world:now() end
  function core.environment() return copy(world.environ) end
end

--- The object of a connection.
---@param id integer
---@return tidewire.Conn|nil  nil: it is gone
function FakeCore:object(id)
  return self.conns[id] and self.conns[id].object
end

--- The lines of the log with that event.
---@param event string
---@return table[]
function FakeCore:logged(event)
  local list = {}
  for _, line in ipairs(self.logs) do
    if line.event == event then
      list[#list + 1] = line
    end
  end
  return list
end

-- ---- in and out ----

--- Takes tidewire's Lua modules out of package.loaded; the C modules stay, they have no state.
local function take_out_modules()
  local taken = {}
  for name, module in pairs(package.loaded) do
    if name:find("^tidewire%f[.\0]") and not name:find("_c$") then
      taken[name] = module
    end
  end
  for name in pairs(taken) do
    package.loaded[name] = nil
  end
  return taken
end

-- luacheck: push ignore 122 (the program replaces these two as well: vm.c)
local function set_coroutine_functions(functions)
  coroutine.resume, coroutine.wrap = functions.resume, functions.wrap
end
-- luacheck: pop

--- Puts the fake in.
---@return FakeCore
function FakeCore:install()
  local core = { version = "1.2.3", worker = 0, exit_marker = {} }
  local world = setmetatable({
    core = core, conns = {}, sent = {}, closes = {}, logs = {}, answers = {}, endpoints = {},
    full = {}, pongs = {}, pings = {}, closed_endpoints = {}, fast_path = {}, environ = {},
    log_level = 0, keepers = {},
    stats = {
      connections = 0, messages_received = 0, bytes_received = 0, script_errors = 0,
      decode_errors = 0, uptime = 0, max_connections = 10000,
    },
  }, self)
  core.close_codes = {
    normal = 1000, bad_payload = 1007, script_error = 1011, restart = 1012, first_private = 4000,
    timed_out = 4408, last = 4999,
  }
  core.limits = {
    close_reason_bytes = 123, message_key_bytes = 1024, store_key_bytes = 1024, stores = 256,
    session_secret_min = 16, session_secret_max = 256, upstream_headers = 256,
    upstream_subprotocols = 32, user_name_bytes = 256,
  }
  core.user_room = "\0tidewire user\0"
  function core.close_code_is_valid(code)
    return code >= 1000 and code <= 1014 and not (code >= 1004 and code <= 1006)
      or code >= 3000 and code <= 4999
  end
  core.guarded = { resume = raw.resume, close = coroutine.close }
  core.wait_marker, world.keepers[1] = new_place()
  core.conn_key, world.keepers[2] = new_place()
  world:init()
  add_conns(world, core)
  add_senders(world, core)
  add_log(world, core)
  add_server(world, core)
  add_budgets(world, core)
  world.saved = {
    modules = take_out_modules(), path = package.path, cpath = package.cpath,
    searchers = table.move(package.searchers, 1, #package.searchers, 1, {}),
  }
  package.preload["tidewire.core"] = function() return core end
  local async = require "tidewire.async"
  world.events = { timer = async.fire }
  set_coroutine_functions(async)
  return world
end

--- Puts everything back as it was before install().
function FakeCore:uninstall()
  set_coroutine_functions(raw)
  package.preload["tidewire.core"] = nil
  take_out_modules()
  for name, module in pairs(self.saved.modules) do
    package.loaded[name] = module
  end
  package.path, package.cpath = self.saved.path, self.saved.cpath
  for i = math.max(#package.searchers, #self.saved.searchers), 1, -1 do
    package.searchers[i] = self.saved.searchers[i]
  end
end

return FakeCore
