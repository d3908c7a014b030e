-- send_options.lua -- the options of conn:send, tw.send and broadcasts: `except`, `key`, `kind`,
-- `endpoint`, `compress`.
--
-- Each call checks them, so that a misspelt `excpet = conn` does not send to a connection that it
-- should leave out. Valid options cost no table and no string; invalid ones throw at the script's
-- line. C checks the options of conn:send with a codec of the library (bind_conn.c), and calls this
-- module only for the message. Keeps nothing.

local Conn = require "tidewire.conn"
local cluster = require "tidewire.cluster"
local core = require "tidewire.core"
local missing = require "tidewire.base.missing"
local option_types = require "tidewire.load.option_types"
local sorted_keys = require "tidewire.base.sorted_keys"
local suggest = require "tidewire.base.suggest"

local LONGEST_KEY <const> = core.limits.message_key_bytes

---@type table<string, table<string, true>>
local known = {
  ["send"] = { compress = true, key = true, kind = true },
  ["tw.send"] = { compress = true, key = true, kind = true },
  ["room:broadcast"] = { compress = true, except = true, key = true },
  ["user:send"] = { compress = true, except = true, key = true, kind = true },
  ["tw.broadcast"] = { compress = true, endpoint = true, except = true, key = true },
}

--- The message for a name that is no option: names the nearest option, or all of them.
local function unknown(what, name)
  local names = sorted_keys(known[what])
  local shown = type(name) == "string" and option_types.quote(name)
    or ('"%s"'):format(tostring(name))
  local hint = suggest.hint(name, names)
  if hint == "" then
    hint = ('; there are "%s" and "%s"')
      :format(table.concat(names, '", "', 1, #names - 1), names[#names])
  end
  return ("%s: unknown option %s%s"):format(what, shown, hint)
end

--- Throws where the table has a name that is no option.
local function check_names(what, options, level)
  local names = known[what]
  for name in next, options do
    if not names[name] then
      error(unknown(what, name), level + 1)
    end
  end
end

local function check_key(what, key, level)
  if key == nil then
    return nil
  elseif type(key) ~= "string" or key == "" then
    error(("%s: key must be a string, got %s"):format(what, key == "" and '""' or type(key)),
      level + 1)
  elseif #key > LONGEST_KEY then
    error(("%s: the key has %d bytes; at most %d are possible"):format(what, #key, LONGEST_KEY),
      level + 1)
  end
  return key
end

--- True where the message stays uncompressed: `compress = false`.
---@return true|nil
local function check_compress(what, compress, level)
  if compress ~= nil and type(compress) ~= "boolean" then
    error(("%s: compress must be true or false, got %s")
      :format(what, option_types.describe(compress)), level + 1)
  end
  return compress == false or nil
end

local send_options = {}

local function check_no_conn(what, options, level)
  if Conn.is(options) then
    error(what .. ": a kind or a table of options is needed, got a connection", level + 1)
  end
end

--- Reads the options of a send to one connection: a kind, a table, or nil.
---@param what "send"|"tw.send"
---@param options any
---@param level integer  as of `error`, from the caller's view
---@return "text"|"binary"|nil kind
---@return string|nil key
---@return true|nil stays_plain
function send_options.of_send(what, options, level)
  local kind, key, stays_plain = options, nil, nil
  if type(options) == "table" then
    check_no_conn(what, options, level + 1)
    check_names(what, options, level + 1)
    kind, key = options.kind, check_key(what, options.key, level + 1)
    stays_plain = check_compress(what, options.compress, level + 1)
  end
  if kind ~= nil and kind ~= "text" and kind ~= "binary" then
    error(('%s: kind must be "text" or "binary", got %s'):format(what, tostring(kind)), level + 1)
  end
  return kind, key, stays_plain
end

--- Throws, at the line that called conn:send, for options that C has found to be wrong.
---@param options any
function send_options.refuse(options)
  send_options.of_send("send", options, 3)
end

--- The integer of the connection to leave out, which is given itself or by its id; that id, if it
--- may be one of another machine; nil for an id of no connection: it may have closed meanwhile.
local function integer_of(what, except, level)
  if except == nil then
    return nil
  elseif Conn.is(except) then
    return Conn.integer(except)
  elseif type(except) == "string" then
    return core.id_number(except) or (cluster.is_away(except) and except or nil)
  end
  error(("%s: except must be a connection or its conn.id, got %s")
    :format(what, option_types.kind(except)), level + 1)
end

--- Reads the options of a send to a user: a kind, a table, the connection to leave out, or nil.
---@param what "user:send"
---@param options any
---@param level integer  as of `error`, from the caller's view
---@return "text"|"binary"|nil kind
---@return string|nil key
---@return true|nil stays_plain
---@return integer|string|nil except  the connection's integer; an id of another machine
function send_options.of_user(what, options, level)
  if Conn.is(options) then
    return nil, nil, nil, Conn.integer(options)
  end
  local kind, key, stays_plain = send_options.of_send(what, options, level + 1)
  local except = type(options) == "table" and options.except or nil
  return kind, key, stays_plain, integer_of(what, except, level + 1)
end

--- Reads the options of a broadcast: a table, the connection to leave out, or nil.
---@param what "room:broadcast"|"tw.broadcast"
---@param options any
---@param level integer  as of `error`, from the caller's view
---@return integer|string|nil except  the connection's integer; an id of another machine
---@return string|nil key
---@param value any  what is to be sent, for the error's words: `tw:broadcast(value)`
---@return any endpoint        not looked at
---@return true|nil stays_plain
function send_options.of_broadcast(what, options, level, value)
  if options == nil then
    return nil
  elseif missing.is_module(value) then
    error(("%s: call it with a dot, %s(…)"):format(what, what), level + 1)
  elseif Conn.is(options) then
    return Conn.integer(options)
  elseif type(options) ~= "table" then
    error(("%s: options must be a table or a connection, got %s")
      :format(what, option_types.kind(options)),
      level + 1)
  end
  check_names(what, options, level + 1)
  return integer_of(what, options.except, level + 1), check_key(what, options.key, level + 1),
    options.endpoint, check_compress(what, options.compress, level + 1)
end

return send_options
