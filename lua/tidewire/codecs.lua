-- codecs.lua -- from payloads to values and back, and the JSON heartbeat that lives among them.
--
-- compile() gives an endpoint its conn.send and, where messages must be looked at before handle_message, its
-- `receive`. A message that cannot be decoded is the client's mistake and goes to on_error as kind "decode"; a
-- value that cannot be encoded is the script's and throws.

local core = require "tidewire.core"
local errors = require "tidewire.errors"
local json = require "tidewire.json"
local option_types = require "tidewire.load.option_types"
local send_options = require "tidewire.send_options"

local ID = core.conn_key
local ENDPOINT <const> = "\0endpoint" -- conn.lua's key

local codecs = {}

--- Gives a message to handle_message, and what it returns to on_error.
local function deliver(conn, value, kind)
  local handle_message = conn[ENDPOINT].handle_message
  if not handle_message then
    return
  end
  local ok, err = handle_message(conn, value, kind)
  if err ~= nil and ok == nil then
    errors.returned(conn, err, "handle_message")
  end
end

local function kind_of(binary)
  return binary and "binary" or "text"
end

-- ---- JSON heartbeat (docs/scripting.md) ----

--- Answers a client's JSON ping or notes its pong. True: the message was one of them.
local function is_heartbeat(conn, value)
  if type(value) ~= "table" then
    return false
  end
  if value.type == "ping" then
    local id = value.pingId == nil and "" or ('"pingId":%s,'):format(json.encode(value.pingId))
    core.send(conn[ID], ('{"type":"pong",%s"timestamp":%d}'):format(id, os.time()))
    return true
  elseif value.type == "pong" then
    core.json_pong(conn[ID], value.pingId)
    return true
  end
  return false
end

--- Looks into a text payload only when it may be a heartbeat.
local function is_heartbeat_text(conn, payload, binary)
  if binary or not payload:find('"p[io]ng"') or not payload:find("^%s*{") then
    return false
  end
  local value = json.decode(payload)
  return value ~= nil and is_heartbeat(conn, value)
end

-- ---- receive functions ----

local function receive_with_heartbeat(conn, payload, binary)
  if not is_heartbeat_text(conn, payload, binary) then
    deliver(conn, payload, kind_of(binary))
  end
end

local function receive_json(conn, payload, binary)
  local value, message = json.decode(payload)
  if message then
    return errors.undecodable(conn, message)
  end
  deliver(conn, value, kind_of(binary))
end

local function receive_json_with_heartbeat(conn, payload, binary)
  local value, message = json.decode(payload)
  if message then
    return errors.undecodable(conn, message)
  end
  if not is_heartbeat(conn, value) then
    deliver(conn, value, kind_of(binary))
  end
end

--- A codec of the script's own: decode(payload, kind) -> value, or nil and a message, or it throws.
local function custom_receive(codec, heartbeat)
  local decode = codec.decode
  if not decode then
    return heartbeat and receive_with_heartbeat or nil
  end
  return function(conn, payload, binary)
    if heartbeat and is_heartbeat_text(conn, payload, binary) then
      return
    end
    local ok, value, message = xpcall(decode, errors.handler("codec.decode"), payload, kind_of(binary))
    if not ok then
      return errors.undecodable(conn, value.message)
    elseif value == nil and message ~= nil then
      return errors.undecodable(conn, tostring(message))
    end
    deliver(conn, value, kind_of(binary))
  end
end

--- What a codec of the script's own makes of a value; or nil and why that is misuse. What it throws goes through.
---@return string|nil payload
---@return "text"|"binary"|string|nil kind_or_problem  nil: it does not say
local function encode_own(codec, value)
  local payload, kind = codec.encode(value)
  if type(payload) ~= "string" then
    return nil, ("the codec's encode must return a string, it returned %s"):format(type(payload))
  elseif kind ~= nil and kind ~= "text" and kind ~= "binary" then
    return nil, ('the codec\'s encode must return the kind "text" or "binary", it returned %s'):format(tostring(kind))
  end
  return payload, kind
end

--- conn.send of all codecs of scripts' own, so that new code with another one need not touch each connection.
--- encode(value) -> payload, kind
local function send_own(conn, value, options)
  local endpoint = type(conn) == "table" and conn[ENDPOINT]
  if not endpoint then
    error("send: call it with a colon, conn:send(value)", 2)
  end
  local kind, key = send_options.of_send("send", options, 2)
  local payload, own_kind = encode_own(endpoint, value)
  if not payload then
    error("send: " .. own_kind, 2)
  end
  local ok, problem = core.send(conn[ID], payload, own_kind or kind, key)
  if ok then
    return true
  elseif problem == "utf8" then
    error('send: text must be valid UTF-8; send other bytes with kind "binary"', 2)
  end
  return nil, problem
end

-- ---- broadcasts ----

---@type table<any, integer>  codec -> its number in C
local numbers = { text = 0, binary = 1, json = 2 }
---@type table<integer, any>  and back
local by_number = { [0] = "text", "binary", "json" }
---@type table<table, integer>, integer  own codecs of an app that is loaded; the last number that one has
local announced, last_number = {}, 2

--- C's number of a codec; the same codec has the same number.
---@param codec any
---@return integer
function codecs.number(codec)
  return announced[codec] or numbers[codec]
end

--- An app may take over soon: other workers may have it, and connections with its codecs, before this one does. Own
--- codecs have a new number in each loading: what an old one encoded, clients of a new one must not get. All workers
--- give the same, as all load the same apps.
---@param list tidewire.Endpoint[]  sorted by path
function codecs.announce(list)
  for _, endpoint in ipairs(list) do
    local codec = endpoint.options.codec
    if type(codec) == "table" and not announced[codec] then
      last_number = last_number + 1
      announced[codec], by_number[last_number] = last_number, codec
    end
  end
end

--- It does not take over.
function codecs.withdraw()
  for _, number in pairs(announced) do
    by_number[number] = nil
    last_number = last_number - 1
  end
  announced = {}
end

--- It has taken over: of own codecs, those remain that an endpoint has.
---@param used table<integer, true>
function codecs.renew(used)
  for codec in pairs(numbers) do
    if type(codec) == "table" then
      numbers[codec] = nil
    end
  end
  for codec, number in pairs(announced) do
    numbers[codec] = number
  end
  announced = {}
  for number in pairs(by_number) do
    if number > 2 and not used[number] then
      by_number[number] = nil
    end
  end
end

--- A value as a payload for the connections that have the codec with this number; or nil and why it cannot be that,
--- which is misuse. What a codec of the script's own throws goes through.
---@param number integer
---@param value any
---@return string|nil payload
---@return "text"|"binary"|string kind_or_problem
function codecs.encode(number, value)
  local codec = by_number[number]
  if codec == "json" then
    local ok, text = pcall(json.encode, value)
    return ok and text or nil, ok and "text" or text
  elseif type(codec) == "table" and codec.encode then
    local payload, kind = encode_own(codec, value)
    return payload, kind or "text"
  elseif not codec then
    return nil, "the codec is no more"
  elseif type(value) ~= "string" and type(value) ~= "number" then
    return nil, ('a string is needed for the codec "%s", got %s'):format(
      codec == "binary" and "binary" or "text", option_types.kind(value))
  end
  return tostring(value), codec == "binary" and "binary" or "text"
end

--- The kind of a payload that codecs.encode() gave: a codec of the script's own decides, for the others the sender.
---@param number integer
---@param encoded "text"|"binary"      what codecs.encode() said
---@param wanted "text"|"binary"|nil   by the sender
---@return "text"|"binary"
function codecs.kind(number, encoded, wanted)
  local codec = by_number[number]
  return type(codec) == "table" and codec.encode and encoded or wanted or encoded
end

--- The functions of an endpoint with this codec.
---@param codec "text"|"binary"|"json"|{ decode: function|nil, encode: function|nil }
---@param heartbeat boolean  the heartbeat is JSON
---@return function send        conn.send
---@return function|nil receive nil: handle_message can be called with the payload as it is
---@return function|nil encode  of a codec of the script's own, for `send`
function codecs.compile(codec, heartbeat)
  if type(codec) == "table" then
    return codec.encode and send_own or core.senders.text, custom_receive(codec, heartbeat), codec.encode
  elseif codec == "json" then
    return core.senders.json, heartbeat and receive_json_with_heartbeat or receive_json
  end
  return core.senders[codec], heartbeat and receive_with_heartbeat or nil
end

return codecs
