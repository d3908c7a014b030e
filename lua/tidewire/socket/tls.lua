-- tls.lua -- TLS on a stream that is connected.

local call_options = require "tidewire.load.call_options"
local connecting = require "tidewire.socket.connecting"
local core = require "tidewire.core"
local misuse = require "tidewire.base.misuse"
local waiting = require "tidewire.socket.waiting"

local tls = {}

call_options.declare("socket_tls", {
  { name = "ca", type = "text" },
  { name = "certificate", type = "text" },
  { name = "key", type = "text" },
  { name = "verify", type = "boolean", default = true },
  { name = "server_name", type = "text" },
  { name = "alpn", type = "protocols" },
})

---@class tidewire.socket.TlsSettings
---@field host string|nil        for SNI and the certificate; nil: neither
---@field verify boolean
---@field ca string|nil          files
---@field certificate string|nil
---@field key string|nil
---@field password string|nil
---@field ciphers string|nil
---@field cipher_suites string|nil
---@field min integer|nil        2 or 3, for TLS 1.2 and 1.3
---@field max integer|nil
---@field alpn string|nil        each protocol behind its length

--- A list of protocols as it is sent: each behind its length.
---@param list string[]
---@return string
function tls.alpn(list)
  local parts = {}
  for i, protocol in ipairs(list) do
    parts[i] = string.pack("s1", protocol)
  end
  return table.concat(parts)
end

--- The settings of the option `tls`, which is checked by "socket_tls". Throws a text without a
--- place.
---@param given table
---@param host string  the server's name, unless the options have another
---@return tidewire.socket.TlsSettings
function tls.settings(given, host)
  if (given.certificate == nil) ~= (given.key == nil) then
    misuse.throw "tls: certificate and key belong together"
  end
  return {
    host = given.server_name or host, verify = given.verify ~= false, ca = given.ca,
    certificate = given.certificate, key = given.key,
    alpn = given.alpn and tls.alpn(given.alpn) or nil,
  }
end

local FIELDS <const> = {
  "host", "verify", "ca", "certificate", "key", "password", "ciphers", "cipher_suites", "min",
  "max", "alpn",
}

--- A text that is equal for equal settings.
---@param settings tidewire.socket.TlsSettings
---@return string
function tls.key(settings)
  local parts = {}
  for i, name in ipairs(FIELDS) do
    local value = settings[name]
    parts[i] = value == nil and "" or string.pack("s4", tostring(value))
  end
  return table.concat(parts, ";")
end

--- Goes on with a handshake that has begun. When it fails, the socket is closed; a handshake whose
--- time is over may go on later, if it is `resumable`.
---@param self tidewire.socket.Stream
---@param start number|nil  of waiting.start
---@param what string       the function, for messages
---@param is_resumable boolean|nil
---@return true|nil ok
---@return string|nil problem
function tls.go_on(self, start, what, is_resumable)
  local ok, problem = core.cosocket_shake_hands(self.number)
  while not ok and problem == false do
    local rest = waiting.rest(self, start)
    if rest == 0 then
      problem = "timeout"
      break
    end
    waiting.wait(self, "in", rest, what)
    ok, problem = core.cosocket_shake_hands(self.number)
  end
  if ok then
    return true
  elseif problem ~= "timeout" or not is_resumable then
    core.cosocket_close(self.number)
  end
  return nil, problem
end

--- Begins TLS, and waits for the end of the handshake. See tls.go_on.
---@param self tidewire.socket.Stream
---@param settings tidewire.socket.TlsSettings
---@param start number|nil
---@param what string
---@param is_resumable boolean|nil
---@return true|nil ok
---@return string|nil problem
function tls.begin(self, settings, start, what, is_resumable)
  local ok, problem = core.cosocket_begin_tls(self.number, settings.host, settings.verify,
    settings.ca, settings.certificate, settings.key, settings.password, settings.ciphers,
    settings.cipher_suites, settings.min, settings.max, settings.alpn)
  if ok then
    return true
  elseif problem ~= false then
    core.cosocket_close(self.number)
    return nil, problem
  end
  return tls.go_on(self, start, what, is_resumable)
end

--- Begins TLS on the connection, in OpenResty's shape. Unlike there, the server's certificate is
--- checked unless `verify` is false. A kept connection that has TLS with the same settings goes on;
--- with others it is replaced by a new one.
---@param self tidewire.socket.Stream
---@param reused_session any        ignored: sessions are not resumed
---@param server_name string|nil    the host by default
---@param verify boolean|nil        true by default
---@param send_status boolean|nil   ignored
---@param given { ca: string?, certificate: string?, key: string?, alpn: string[]? }|nil
---@return true|nil ok
---@return string|nil problem
function tls.sslhandshake(self, reused_session, server_name, verify, send_status, given)
  local settings = misuse.blame_caller(function()
    local order = call_options.check("socket_tls", given, "socket:sslhandshake: ")
    if server_name ~= nil and type(server_name) ~= "string" then
      misuse.throw "socket:sslhandshake: the server's name must be a string"
    end
    order.verify = verify ~= false
    order.server_name = server_name or order.server_name
    local host = self.host
    return tls.settings(order, host and not host:find("^unix:") and host or nil)
  end)
  local key = tls.key(settings)
  local start = waiting.start(self)
  if self.tls_key == key then
    return true
  elseif self.tls_key then -- kept, with other settings
    local host, port = self.host, self.port
    core.cosocket_close(self.number)
    self.tls_key, self.times = nil, 0
    local ok, problem = connecting.connect_to_host(self, host, port, start)
    if not ok then
      return nil, problem
    end
  end
  local ok, problem = tls.begin(self, settings, start, "socket:sslhandshake")
  if ok then
    self.tls_key = key
  end
  return ok, problem
end

return tls
