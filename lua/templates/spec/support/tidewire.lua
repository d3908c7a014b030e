-- tidewire.lua -- replaces `require "tidewire"` in specs, which run without the server: records the
-- calls of its functions.
--
-- The server never reads this file. Add the functions that your specs need.
--
--   local tw = require "tidewire"
--   tw.forget()                                         -- before each test
--   assert.same({ "broadcast", "hi" }, tw.asked[1])     -- after it

local tw = { version = "0", worker = 0, generation = 1 }

--- The calls, in order: the function's name and its arguments.
tw.asked = {}
--- Timers that were started: { seconds =, f =, repeats = }; a spec calls their f.
tw.timers = {}

local stores, kept = {}, {}

--- Forgets all calls and timers.
function tw.forget()
  tw.asked, tw.timers, stores, kept = {}, {}, {}, {}
end

local function note(...)
  tw.asked[#tw.asked + 1] = { ... }
end

-- ---- others ----

function tw.broadcast(...) note("broadcast", ...) return 0 end
function tw.send(...) note("send", ...) return true end
function tw.close(...) note("close", ...) return true end

local Room = {}
Room.__index = Room
function Room:broadcast(...) note("room:broadcast", self.name, ...) return 0 end
function Room:history() return {} end
function Room:offset() return nil end
function Room:clear_history(...) note("room:clear_history", self.name, ...) end
function Room:size() return #self:members() end
function Room:members() return {} end
function Room:users() return {} end
function Room:watch(f)
  note("room:watch", self.name, f)
  return { cancel = function() return true end }
end
function tw.room(name) return setmetatable({ name = name }, Room) end

local User = {}
User.__index = User
function User:send(...) note("user:send", self.name, ...) return 0 end
function User:close(...) note("user:close", self.name, ...) return 0 end
function User:connections() return {} end
function User:online() return #self:connections() > 0 end
function tw.user(name) return setmetatable({ name = tostring(name) }, User) end
--- Answers as the server does, by conn:send; the functions' errors go through.
function tw.rpc(functions, other)
  return function(conn, message, kind)
    if type(message) ~= "table" or not message.ask or not message.type then
      return other and other(conn, message, kind)
    end
    local f = functions[message.type]
    if not f then
      local unknown = { message = "unknown request", kind = "unknown" }
      return conn:send({ answer = message.ask, error = unknown })
    end
    local data, problem, why = f(conn, message.data)
    if data == nil and problem ~= nil then
      local refused = { message = tostring(problem), kind = why or "refused" }
      return conn:send({ answer = message.ask, error = refused })
    end
    conn:send({ answer = message.ask, data = data })
  end
end
function tw.watch_users(f)
  note("watch_users", f)
  return { cancel = function() return true end }
end

-- ---- time ----

local Timer = {}
Timer.__index = Timer
function Timer:cancel() local was = not self.over self.over = true return was end
function Timer:is_running() return not self.over end

local function timer(seconds, f, repeats)
  local new = setmetatable({ seconds = seconds, f = f, repeats = repeats, skipped = 0 }, Timer)
  tw.timers[#tw.timers + 1] = new
  return new
end
function tw.after(seconds, f) return timer(seconds, f, false) end
function tw.every(seconds, f) return timer(seconds, f, true) end
function tw.sleep(seconds) note("sleep", seconds) end
function tw.now() return os.clock() end
function tw.time() return os.time() end
function tw.spawn(f, ...) f(...) end

function tw.await(begin)
  local results
  begin(function(...) results = results or table.pack(...) end)
  assert(results, "tw.await: in a spec `done` must be called at once")
  return table.unpack(results, 1, results.n)
end

-- ---- state ----

local Store = {}
Store.__index = Store
function Store:get(key) return self.values[key] end
function Store:set(key, value) self.values[key] = value return true end
function Store:add(key, value) return self.values[key] == nil and self:set(key, value) end
function Store:incr(key, by, initial)
  self.values[key] = (self.values[key] or initial or 0) + (by or 1)
  return self.values[key]
end
function Store:delete(key)
  local there = self.values[key] ~= nil
  self.values[key] = nil
  return there
end
function Store:expire(key) return self.values[key] ~= nil end
function Store:update(key, f) return self:set(key, f(self.values[key])) end
function Store:entries()
  local entries = {}
  for key, value in pairs(self.values) do entries[key] = value end
  return entries
end
function Store:keys()
  local keys = {}
  for key in pairs(self.values) do keys[#keys + 1] = key end
  return keys
end

function tw.shared(name)
  stores[name] = stores[name] or setmetatable({ values = {} }, Store)
  return stores[name]
end

function tw.keep(name, initial)
  kept[name] = kept[name] or (type(initial) == "function" and initial() or initial or {})
  return kept[name]
end

-- ---- the rest ----

tw.log = {}
for _, level in ipairs { "debug", "info", "warn", "error" } do
  tw.log[level] = function(...) note("log." .. level, ...) end
end

--- Needs a JSON library in plain Lua: Debian's lua-cjson or lua-dkjson.
local found, json = pcall(require, "cjson")
if not found then found, json = pcall(require, "dkjson") end
tw.null = found and json.null or setmetatable({}, { __tostring = function() return "null" end })
tw.array = function(list) return list or {} end
tw.json = { null = tw.null, array = tw.array }
function tw.json.encode(value)
  assert(found, "a spec needs lua-cjson for JSON")
  return json.encode(value)
end
function tw.json.decode(text)
  assert(found, "a spec needs lua-cjson for JSON")
  local good, value = pcall(json.decode, text)
  if good then return value end
  return nil, value
end

--- Returns the spec's tw.http.answer; without one, nil and a message.
tw.http = {}
function tw.http.request(request)
  note("http.request", request)
  if tw.http.answer then return tw.http.answer end
  return nil, "there is no network in specs: set tw.http.answer"
end

--- Returns nil and a message: a spec that needs a client replaces this function.
function tw.connect(url, options)
  note("connect", url, options)
  return nil, "there is no network in specs: replace tw.connect"
end

--- Returns nil and a message. Replace the functions in a spec that needs them.
tw.socket = { dns = {} }
for _, name in ipairs { "connect", "tcp", "select", "sleep", "gettime", "sink", "source", "protect",
  "newtry", "try" } do
  tw.socket[name] = function(...)
    note("socket." .. name, ...)
    return nil, ("there is no network in specs: replace tw.socket.%s"):format(name)
  end
end

--- Calls the functions of the module itself: nothing blocks long in a spec.
function tw.pool(module)
  local functions = require(module)
  local pool = { name = module }
  function pool.call(_, name, ...)
    note("pool.call", module, name, ...)
    return functions[name](...)
  end
  function pool.with() return pool end
  function pool.stats() return {} end
  function pool.close() end
  return pool
end

-- ---- programs: none runs ----

--- Returns the spec's tw.run_result; without one, nil and a message.
function tw.run(order)
  note("run", order)
  if tw.run_result then return tw.run_result end
  return nil, "no programs run in specs: set tw.run_result"
end

-- ---- files: the real ones ----

function tw.read_file(path)
  local file, problem, code = io.open(path, "rb")
  if not file then return nil, problem, code end
  local data = file:read("a")
  file:close()
  return data
end

function tw.write_file(path, data, options)
  local file, problem, code = io.open(path, options and options.append and "ab" or "wb")
  if not file then return nil, problem, code end
  file:write(data)
  file:close()
  return true
end

-- ---- others ----

--- Returns the spec's tw.jwt.claims for every token.
tw.jwt = {}
function tw.jwt.verify(token)
  note("jwt.verify", token)
  if tw.jwt.claims then return tw.jwt.claims end
  return nil, "there are no tokens in specs: set tw.jwt.claims"
end
function tw.jwt.sign(claims) note("jwt.sign", claims) return "a token" end

--- A value as text, tables with their keys in order.
function tw.inspect(value)
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  local parts = {}
  for key, inner in pairs(value) do
    parts[#parts + 1] = ("[%s] = %s"):format(tw.inspect(key), tw.inspect(inner))
  end
  table.sort(parts)
  return "{ " .. table.concat(parts, ", ") .. " }"
end

function tw.stats() return {} end

return setmetatable(tw, {
  __index = function(_, name)
    error(("spec/support/tidewire.lua has no tw.%s: add what your specs need")
      :format(tostring(name)), 2)
  end,
})
