-- codecs.lua -- decodes payloads and encodes values; handles the JSON heartbeat, whose messages are
-- payloads too.
--
-- compile() gives an endpoint its conn.send and, where messages must be read before handle_message,
-- its `receive`. A message that cannot be decoded goes to on_error as kind "decode". A value that
-- cannot be encoded is misuse by the script and throws.

local conn_keys = require "tidewire.conn_keys"
local core = require "tidewire.core"
local errors = require "tidewire.errors"
local json = require "tidewire.json"
local option_types = require "tidewire.load.option_types"
local send_options = require "tidewire.send_options"

local ID <const>, ENDPOINT <const> = conn_keys.ID, conn_keys.ENDPOINT

local codecs = {}

--- Gives a message to handle_message, and what it returns to on_error.
local function deliver(conn, endpoint, value, binary)
  local handle_message = endpoint.handle_message
  if not handle_message then
    return
  end
  local ok, err = handle_message(conn, value, binary and "binary" or "text")
  if err ~= nil and ok == nil then
    errors.returned(conn, err, "handle_message")
  end
end

-- ---- JSON heartbeat (docs/scripting.md) ----

--- Answers a client's JSON ping, or notes its pong. Returns true if the message was a ping or a
--- pong. On an endpoint with `resume` and PING frames, only those of sessions are: a client needs
--- them to acknowledge messages.
local function is_heartbeat(conn, value, endpoint)
  if type(value) ~= "table" or value.type ~= "ping" and value.type ~= "pong" then
    return false
  end
  local received = core.json_heartbeat(conn[ID], value.received)
  local is_json = endpoint.options.heartbeat == "json"
  if not received and not is_json then
    return false
  elseif value.type == "ping" then
    local id = value.pingId == nil and "" or ('"pingId":%s,'):format(json.encode(value.pingId))
    core.send_heartbeat(conn[ID], ('{"type":"pong",%s"timestamp":%d%s}'):format(id, os.time(),
      received and (',"received":%d'):format(received) or ""))
  elseif is_json then
    core.json_pong(conn[ID], value.pingId)
  end
  return true
end

--- The same for a payload; decodes only texts that may be a heartbeat.
local function is_heartbeat_text(conn, payload, binary, endpoint)
  if binary or not payload:find('"p[io]ng"') or not payload:find("^%s*{") then
    return false
  end
  local value = json.decode(payload)
  return value ~= nil and is_heartbeat(conn, value, endpoint)
end

--- Handles a text if it is a message of the JSON heartbeat.
---@param conn tidewire.Conn
---@param payload string
function codecs.handle_heartbeat(conn, payload)
  local endpoint = conn[ENDPOINT]
  if endpoint.options.codec == "json" then
    is_heartbeat(conn, (json.decode(payload)), endpoint)
  else
    is_heartbeat_text(conn, payload, false, endpoint)
  end
end

-- ---- receive functions ----

local function receive_with_heartbeat(conn, payload, binary, endpoint)
  if not is_heartbeat_text(conn, payload, binary, endpoint) then
    deliver(conn, endpoint, payload, binary)
  end
end

local function receive_json(conn, payload, binary, endpoint)
  local value, message = json.decode(payload)
  if message then
    return errors.undecodable(conn, message)
  end
  deliver(conn, endpoint, value, binary)
end

local function receive_json_with_heartbeat(conn, payload, binary, endpoint)
  local value, message = json.decode(payload)
  if message then
    return errors.undecodable(conn, message)
  end
  if not is_heartbeat(conn, value, endpoint) then
    deliver(conn, endpoint, value, binary)
  end
end

--- Of an endpoint with the codec "json" whose connections are asked (requests.lua).
---@param heartbeat boolean
---@param take fun(conn: tidewire.Conn, value: any): boolean  takes an answer
function codecs.receive_answers(heartbeat, take)
  return function(conn, payload, binary, endpoint)
    local value, message = json.decode(payload)
    if message then
      return errors.undecodable(conn, message)
    end
    if not (heartbeat and is_heartbeat(conn, value, endpoint)) and not take(conn, value) then
      deliver(conn, endpoint, value, binary)
    end
  end
end

--- A codec of the script's own: decode(payload, kind) -> value, or nil and a message, or it throws.
local function custom_receive(codec, heartbeat)
  local decode = codec.decode
  if not decode then
    return heartbeat and receive_with_heartbeat or nil
  end
  return function(conn, payload, binary, endpoint)
    if heartbeat and is_heartbeat_text(conn, payload, binary, endpoint) then
      return
    end
    local ok, value, message = errors.call("codec.decode", decode, payload,
      binary and "binary" or "text")
    if not ok and value.kind == "memory" then
      error(value, 0) -- the client has not sent anything wrong
    elseif not ok then
      return errors.undecodable(conn, value.message)
    elseif value == nil and message ~= nil then
      return errors.undecodable(conn, tostring(message))
    end
    deliver(conn, endpoint, value, binary)
  end
end

--- Encodes a value by a codec of the script's own; or returns nil and the reason why the result is
--- misuse. Errors of the codec pass through.
---@return string|nil payload
---@return "text"|"binary"|string|nil kind_or_problem  nil: the codec does not set the kind
local function encode_own(codec, value)
  local payload, kind = codec.encode(value)
  if type(payload) ~= "string" then
    return nil, ("the codec's encode must return a string, it returned %s"):format(type(payload))
  elseif kind ~= nil and kind ~= "text" and kind ~= "binary" then
    return nil, ('the codec\'s encode must return the kind "text" or "binary", it returned %s')
      :format(tostring(kind))
  end
  return payload, kind
end

--- conn.send of all codecs of scripts' own: one function, so that new functions of a codec need not
--- change each connection. encode(value) -> payload, kind
local function send_own(conn, value, options)
  local endpoint = type(conn) == "table" and conn[ENDPOINT]
  if not endpoint then
    error("send: call it with a colon, conn:send(value)", 2)
  end
  local kind, key, stays_plain = send_options.of_send("send", options, 2)
  local payload, own_kind = encode_own(endpoint, value)
  if not payload then
    error("send: " .. own_kind, 2)
  end
  local ok, problem = core.send(conn[ID], payload, own_kind or kind, key, stays_plain)
  if ok then
    return true
  elseif problem == "utf8" then
    error('send: text must be valid UTF-8; send other bytes with kind "binary"', 2)
  end
  return nil, problem
end

-- ---- broadcasts ----

--- The name of an endpoint's codec, the same on every machine: a codec of the script's own is the
--- endpoint's, whose functions new code may replace.
---@param codec "text"|"binary"|"json"|tidewire.Codec
---@param path string  the endpoint's
---@return string name  "text", "binary", "json" or "custom:" and the path
function codecs.name(codec, path)
  return type(codec) == "table" and "custom:" .. path or codec --[[@as string]]
end

--- Encodes a value for the connections that have this codec; or returns nil and the reason why the
--- value is misuse. Errors of a codec of the script's own pass through.
---@param codec "text"|"binary"|"json"|tidewire.Codec
---@param value any
---@return string|nil payload
---@return "text"|"binary"|string kind_or_problem
function codecs.encode(codec, value)
  if codec == "json" then
    local ok, text = pcall(json.encode, value)
    return ok and text or nil, ok and "text" or text
  elseif type(codec) == "table" then
    local payload, kind = encode_own(codec, value)
    return payload, kind or "text"
  elseif type(value) ~= "string" and type(value) ~= "number" then
    return nil, ('a string is needed for the codec "%s", got %s'):format(
      codec == "binary" and "binary" or "text", option_types.kind(value))
  end
  return tostring(value), codec == "binary" and "binary" or "text"
end

--- The kind of a payload of codecs.encode(): a codec of the script's own sets it, for other codecs
--- the sender.
---@param codec "text"|"binary"|"json"|tidewire.Codec
---@param encoded "text"|"binary"      the second result of codecs.encode()
---@param wanted "text"|"binary"|nil   by the sender
---@return "text"|"binary"
function codecs.kind(codec, encoded, wanted)
  return type(codec) == "table" and encoded or wanted or encoded
end

--- Is a message that comes what the client has sent?
---@param codec "text"|"binary"|"json"|{ decode: function|nil, encode: function|nil }
---@return boolean
function codecs.is_plain(codec)
  return codec ~= "json" and (type(codec) ~= "table" or not codec.decode)
end

--- The functions of an endpoint with this codec.
---@param codec "text"|"binary"|"json"|{ decode: function|nil, encode: function|nil }
---@param heartbeat boolean  there may be JSON heartbeats
---@return function send        conn.send
---@return function|nil receive nil: handle_message can be called with the payload as it is
---@return function|nil encode  of a codec of the script's own, for `send`
function codecs.compile(codec, heartbeat)
  if type(codec) == "table" then
    return codec.encode and send_own or core.senders.text, custom_receive(codec, heartbeat),
      codec.encode
  elseif codec == "json" then
    return core.senders.json, heartbeat and receive_json_with_heartbeat or receive_json
  end
  return core.senders[codec], heartbeat and receive_with_heartbeat or nil
end

return codecs
