-- missing.lua -- adds the name that was meant to errors about names that objects of the library do
-- not have.
--
-- A missing name reads as nil, as everywhere in Lua: scripts test whether a function exists, and a
-- connection's other fields are their own. The error comes later, from Lua: "attempt to call a nil
-- value (method 'snd')". So each object remembers the last missing name that was read, and
-- `missing.explain` adds to the text of an error about this name what was meant. Names that exist
-- are read as before.

local sorted_keys = require "tidewire.base.sorted_keys"
local suggest = require "tidewire.base.suggest"

local missing = {}

---@class tidewire.MissingKind
---@field subject string   how scripts write the object: "conn"
---@field names fun(): table<string, "."|":">  what it has, and what stands before that
---@field looked_for { name: any }             the last missing name that no message has named
---@field is_open boolean  scripts have names of their own there, so that no list of ours helps
---@field values fun(): table<string, any>     of these names, those that are no functions

---@type tidewire.MissingKind[]
local kinds = {}

--- Names of other libraries, and ours for the same thing.
---@type table<string, table<string, string>>
local other_words = {
  ["conn"] = {
    emit = "conn:send", write = "conn:send", publish = "conn:send", disconnect = "conn:close",
    terminate = "conn:close", kick = "conn:close",
    broadcast = 'tw.broadcast, or tw.room("lobby"):broadcast', subscribe = "conn:join",
    unsubscribe = "conn:leave", headers = "conn.request.headers", cookies = "conn.request.cookies",
    ip = "conn.remote_address", address = "conn.remote_address", closed = "conn:is_open",
    is_closed = "conn:is_open", on = "a hook of the handler, such as handle_message",
    uuid = "conn.id",
  },
  ["room"] = {
    send = "room:broadcast", emit = "room:broadcast", publish = "room:broadcast",
    count = "room:size", length = "room:size", clients = "room:members",
    connections = "room:members", join = "conn:join(room.name)", add = "conn:join(room.name)",
    leave = "conn:leave(room.name)", remove = "conn:leave(room.name)", on = "room:watch",
  },
  ["tw"] = {
    setTimeout = "tw.after", setInterval = "tw.every", timer = "tw.after", wait = "tw.sleep",
    delay = "tw.sleep", go = "tw.spawn", fork = "tw.spawn", print = "tw.log.info",
    emit = "tw.broadcast", publish = "tw.broadcast", encode = "tw.json.encode",
    decode = "tw.json.decode", fetch = "tw.http.request", request = "tw.http.request",
    exec = "tw.run", execute = "tw.run", popen = "tw.run", system = "tw.run", clock = "tw.now",
    store = "tw.shared", cache = "tw.shared", kick = "tw.close", disconnect = "tw.close",
  },
  ["user"] = {
    broadcast = "user:send", emit = "user:send", publish = "user:send", kick = "user:close",
    disconnect = "user:close", is_online = "user:online", ids = "user:connections",
    count = "#user:connections()",
  },
  ["tw.log"] = {
    warning = "tw.log.warn", err = "tw.log.error", critical = "tw.log.error",
    fatal = "tw.log.error", trace = "tw.log.debug", notice = "tw.log.info", print = "tw.log.info",
    write = "tw.log.info",
  },
  ["tw.json"] = {
    stringify = "tw.json.encode", serialize = "tw.json.encode", dumps = "tw.json.encode",
    parse = "tw.json.decode", deserialize = "tw.json.decode", loads = "tw.json.decode",
  },
  ["tw.http"] = {
    get = "tw.http.request", post = "tw.http.request", put = "tw.http.request",
    delete = "tw.http.request", fetch = "tw.http.request",
  },
  ["tw.jwt"] = { decode = "tw.jwt.verify", encode = "tw.jwt.sign", create = "tw.jwt.sign" },
  ["store"] = {
    put = "store:set", inc = "store:incr", decr = "store:incr(key, -1)", del = "store:delete",
    remove = "store:delete", ttl = "store:expire", exists = "store:get", has = "store:get",
  },
  ["timer"] = { stop = "timer:cancel", clear = "timer:cancel", close = "timer:cancel" },
  ["watch"] = { stop = "watch:cancel", close = "watch:cancel" },
  ["request"] = {
    header = "request.headers", cookie = "request.cookies", ip = "request.remote_address",
    url = "request.path", uri = "request.path", args = "request.query", data = "request.body",
    protocols = "request.subprotocols",
  },
}

--- Global variables that scripts expect and that do not exist.
local globals = {
  tw = 'local tw = require "tidewire" is missing',
  tidewire = 'local tidewire = require "tidewire" is missing',
  uv = 'local uv = require "luv" is missing', luv = 'local luv = require "luv" is missing',
  json = 'JSON is tw.json of local tw = require "tidewire"',
  cjson = 'JSON is tw.json of local tw = require "tidewire"',
  conn = "the connection is the first argument of each hook but validate",
  request = "the request is the argument of validate, and conn.request",
}

-- ---- objects that remember ----

--- Adds an object that itself remembers the last missing name.
---@param kind tidewire.MissingKind
function missing.add(kind)
  kinds[#kinds + 1] = kind
end

--- The names of tables of functions and of the values beside them; those that begin with "__" are
--- Lua's.
local function names_of(tables, sign)
  local names = {}
  for _, each in ipairs(tables) do
    for name, value in pairs(each) do
      if type(name) == "string" and name:sub(1, 2) ~= "__" then
        names[name] = type(value) == "function" and sign or "."
      end
    end
  end
  return names
end

--- The names of values other than functions, in these tables.
local function values_of(tables)
  local values = {}
  for _, each in ipairs(tables) do
    for name, value in pairs(each) do
      if type(name) == "string" and name:sub(1, 2) ~= "__" and type(value) ~= "function" then
        values[name] = value
      end
    end
  end
  return values
end

--- An __index that remembers the missing name.
local function rememberer(subject, tables, sign)
  local looked_for = {}
  missing.add {
    subject = subject,
    names = function() return names_of(tables, sign) end,
    values = function() return values_of(tables) end,
    looked_for = looked_for,
    is_open = false,
  }
  return function(_, name)
    looked_for.name = name
  end
end

--- Makes a class, which is the __index of its objects, remember the last missing name.
---@param subject string          how scripts call an object: "room"
---@param class table
---@param fields table|nil        what objects have beside: names of any values
function missing.watch_class(subject, class, fields)
  setmetatable(class, { __index = rememberer(subject, { class, fields }, ":") })
end

--- Makes a module, such as `tw`, whose functions are called with a dot, remember the last missing
--- name. A call of the module itself is an error that says so. Its __name lets errors about an
--- argument say that a function was called with a colon.
---@param subject string  "tw.log"
---@param module table
function missing.watch_module(subject, module)
  local what = subject .. " itself: call it with a dot, not with a colon"
  setmetatable(module, {
    __index = rememberer(subject, { module }, "."),
    __call = function()
      error(("%s is a table of functions, and none itself%s")
        :format(subject, missing.list(subject, module)), 2)
    end,
    __name = what, -- luaL_typeerror's
    __kind = what,
    __is_module = true,
  })
end

--- Is the value a module of the library? Then a function was called with a colon, and this is its
--- first argument.
---@param value any
---@return boolean
function missing.is_module(value)
  local metatable = type(value) == "table" and getmetatable(value)
  return type(metatable) == "table" and rawget(metatable, "__is_module") == true
end

-- ---- hints ----

local MOST_NAMES <const> = 12 -- longer lists do not help

--- "; tw.log has debug, error, info and warn", or nothing where there are too many.
---@param subject string
---@param names table
---@return string
function missing.list(subject, names)
  local list = sorted_keys(names)
  if #list > MOST_NAMES or #list == 0 then
    return ""
  elseif #list == 1 then
    return ("; %s has %s"):format(subject, list[1])
  end
  return ("; %s has %s and %s"):format(subject, table.concat(list, ", ", 1, #list - 1), list[#list])
end

--- The hint for a name that objects of this kind do not have; nil if there is none.
local function hint_of(kind, name)
  local names = kind.names()
  local other = other_words[kind.subject] and other_words[kind.subject][name]
  if other then
    return ("; did you mean %s?"):format(other)
  end
  local nearest = suggest.nearest(name, sorted_keys(names))
  if nearest then
    return ("; did you mean %s%s%s?"):format(kind.subject, names[nearest], nearest)
  elseif not kind.is_open then
    local list = missing.list(kind.subject, names)
    return list ~= "" and list or ("; %s has no such name"):format(kind.subject)
  end
end

--- The hint where a name of the library was called and is no function, or was indexed and is one.
--- The name may also be one of the script's own.
local function misuse_of(kind, name, was_called)
  local sign, value = kind.names()[name], kind.values()[name]
  if was_called and value ~= nil then
    return ("; %s.%s is %s, if that was meant"):format(kind.subject, name,
      type(value) == "table" and "a table: look into it with [ ] or a dot"
        or "a value: write it without ( )")
  elseif not was_called and sign and value == nil then
    return ("; %s%s%s is a function: call it, if that was meant"):format(kind.subject, sign, name)
  end
end

--- A hint for the first kind that has one.
local function find_hint(name, what, type_name)
  for _, kind in ipairs(kinds) do
    local hint
    if type_name == "nil" then
      hint = kind.looked_for.name == name and hint_of(kind, name)
    elseif what == "call" then
      hint = misuse_of(kind, name, true)
    elseif what == "index" and type_name == "function" then
      hint = misuse_of(kind, name, false)
    end
    if hint then
      kind.looked_for.name = nil
      return hint
    end
  end
end

--- The hint where a method of connections was called on another value: a hook's arguments in
--- another order, or a connection's id.
local function hint_of_stranger(name)
  for _, kind in ipairs(kinds) do
    if kind.subject == "conn" and kind.names()[name] == ":" then
      return ("; what stands before :%s is no connection: a hook's arguments come in the order "
        .. "(conn, message, kind), and a room's members are ids, for tw.send and tw.close")
        :format(name)
    end
  end
end

--- Adds to the text of Lua's error about a missing name what was meant.
---@param text string
---@return string
function missing.explain(text)
  local _, last, what, type_name, kind, name =
    text:find("attempt to (%a+)[%a ]* an? ([%w_.]+) value %((%a+) '([^'\n]*)'%)")
  if not name or text:find("^; ", last + 1) then
    return text
  end
  local hint
  if kind ~= "global" then
    hint = find_hint(name, what, type_name)
    if not hint and what == "call" and type_name == "nil" and kind == "method" then
      hint = hint_of_stranger(name)
    end
  elseif type_name == "nil" and globals[name] then
    hint = "; " .. globals[name]
  end
  return hint and text:sub(1, last) .. hint .. text:sub(last + 1) or text
end

return missing
