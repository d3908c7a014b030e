-- ssl.lua -- `require "ssl"`: TLS in LuaSec's shape, for clients, on sockets that wait.
--
-- What LuaSec does and this does not: the server's side, TLS 1.1 and older, and the names of a
-- certificate as a table. Parameters are checked by OpenSSL when the handshake begins.

local Stream = require "tidewire.socket.stream"
local connecting = require "tidewire.socket.connecting"
local core = require "tidewire.core"
local tls = require "tidewire.socket.tls"
local waiting = require "tidewire.socket.waiting"

local ssl = { _VERSION = "1.2.0", _COPYRIGHT = "LuaSec's shape, by Tidewire" }

---@class tidewire.socket.Ssl: tidewire.socket.Stream
local Ssl = {}
local methods = {}
for name, method in pairs(Stream.__index) do
  methods[name] = method
end
for name, method in pairs(Stream) do
  Ssl[name] = method
end
Ssl.__index, Ssl.__name = methods, "tidewire.socket.Ssl"

-- ---- parameters ----

local VERSIONS <const> = {
  any = { 2, 3 }, sslv23 = { 2, 3 }, tlsv1_2 = { 2, 2 }, tlsv1_3 = { 3, 3 },
}

local function contains(value, word)
  if type(value) ~= "table" then
    return value == word
  end
  for _, each in ipairs(value) do
    if each == word then
      return true
    end
  end
  return false
end

--- The limits on the version, by `protocol` and by options such as "no_tlsv1_3".
local function versions(params)
  local protocol = params.protocol or "any"
  local range = VERSIONS[protocol]
  if not range then
    return nil, ("invalid protocol (%s): there are any, tlsv1_2 and tlsv1_3"):format(
      tostring(protocol))
  end
  local min, max = range[1], range[2]
  if contains(params.options, "no_tlsv1_3") then max = math.min(max, 2) end
  if contains(params.options, "no_tlsv1_2") then min = math.max(min, 3) end
  if min > max then
    return nil, "the protocol and the options leave no version of TLS"
  end
  return min, max
end

---@class tidewire.socket.SslContext
---@field settings tidewire.socket.TlsSettings
local Context = { __name = "tidewire.socket.SslContext" }

--- The parameters of connections, checked.
---@param params table  LuaSec's: mode, protocol, verify, cafile, certificate, key, password,
---ciphers, ciphersuites, options, alpn
---@return tidewire.socket.SslContext|nil
---@return string|nil problem
function ssl.newcontext(params)
  if type(params) ~= "table" then
    error(("ssl.newcontext: a table of parameters is needed, got %s"):format(type(params)), 2)
  elseif params.mode ~= "client" then
    return nil, ("invalid mode (%s): only clients can be made here; TLS of the server is the app's "
      .. "option tls"):format(tostring(params.mode))
  end
  local min, max = versions(params)
  if not min then
    return nil, max
  end
  local verifies = contains(params.verify, "peer")
  for _, name in ipairs { "cafile", "certificate", "key", "ciphers", "ciphersuites" } do
    if params[name] ~= nil and type(params[name]) ~= "string" then
      return nil, ("invalid %s"):format(name)
    end
  end
  if params.capath and not params.cafile then
    return nil, "capath is not supported: name a file with cafile"
  end
  local password = params.password
  if type(password) == "function" then
    password = password()
  end
  local alpn = params.alpn
  if type(alpn) == "string" then
    alpn = { alpn }
  end
  for _, name in ipairs(alpn or {}) do
    if type(name) ~= "string" or #name < 1 or #name > 255 then
      return nil, "invalid ALPN name"
    end
  end
  return setmetatable({
    settings = {
      verify = verifies, ca = verifies and params.cafile or nil,
      certificate = params.certificate, key = params.key, password = password,
      ciphers = params.ciphers, cipher_suites = params.ciphersuites, min = min, max = max,
      alpn = alpn and tls.alpn(alpn) or nil,
    },
  }, Context)
end

--- A socket with TLS in place of a connected one, which is closed for its owner from then on.
---@param socket tidewire.socket.Stream
---@param params table|tidewire.socket.SslContext
---@return tidewire.socket.Ssl|nil
---@return string|nil problem
function ssl.wrap(socket, params)
  if type(socket) ~= "table" or math.type(socket.number) ~= "integer" then
    error('ssl.wrap: a socket of require "socket" is needed', 2)
  end
  local context = params
  if getmetatable(params) ~= Context then
    local made, problem = ssl.newcontext(params)
    if not made then
      return nil, problem
    end
    context = made
  end
  local wrapped = setmetatable({
    number = 0, family = socket.family, opened = socket.opened, is_client = true,
    host = socket.host, port = socket.port, settings = context.settings,
  }, Ssl)
  wrapped.number, socket.number = socket.number, 0
  waiting.attach(socket, 0)
  connecting.note(wrapped)
  return wrapped
end

-- ---- methods ----

--- Names the server: it is sent (SNI), and the certificate must be for it where it is checked.
---@param name string
function methods:sni(name)
  if type(name) ~= "string" then
    error("socket:sni: a name is needed; tables of contexts are for servers", 2)
  end
  self.server_name = name
end

--- Begins TLS, and waits for the end of the handshake.
---@return boolean ok
---@return string|nil problem
function methods:dohandshake()
  if self.has_tls then
    return true
  end
  local settings = {}
  for name, value in pairs(self.settings) do
    settings[name] = value
  end
  settings.host = self.server_name
  local ok, problem
  if self.is_shaking then
    ok, problem = tls.go_on(self, waiting.start(self), "socket:dohandshake", true)
  else
    self.is_shaking = true
    ok, problem = tls.begin(self, settings, waiting.start(self), "socket:dohandshake", true)
  end
  self.has_tls = ok
  return ok or false, problem == "timeout" and "wantread" or problem
end

--- As the socket's receive, with LuaSec's word for a limit that is over. Without TLS the socket
--- counts as closed, so that nothing passes in plain text by mistake.
function methods:receive(...)
  if not self.has_tls then
    return nil, "closed", ""
  end
  local data, problem, partial = Stream.__index.receive(self, ...)
  return data, problem == "timeout" and "wantread" or problem, partial
end

--- As the socket's send, with LuaSec's word for a limit that is over. See receive.
function methods:send(...)
  if not self.has_tls then
    return nil, "closed", 0
  end
  local last, problem, partial = Stream.__index.send(self, ...)
  return last, problem == "timeout" and "wantwrite" or problem, partial
end

---@class tidewire.socket.Certificate
---@field subject string      "CN=example.org, O=…"
---@field issuer string
---@field serial string       hexadecimal
---@field fingerprint string  SHA-256, hexadecimal
---@field not_after integer   seconds since 1970

--- The server's certificate, as a table of texts; LuaSec has an object with methods.
---@return tidewire.socket.Certificate|nil
---@return string|nil problem
function methods:getpeercertificate()
  local version, _, subject, issuer, serial, fingerprint, not_after =
    core.cosocket_tls_facts(self.number)
  if not version or not subject then
    return nil, "there is no certificate"
  end
  return { subject = subject, issuer = issuer, serial = serial, fingerprint = fingerprint,
    not_after = not_after }
end

--- Has the certificate been checked, and is it good?
---@return boolean
function methods:getpeerverification()
  return self.has_tls and self.settings.verify or false
end

--- The protocol that both sides have agreed on (ALPN).
---@return string|nil
function methods:getalpn()
  return core.cosocket_alpn(self.number)
end

--- What is known of the connection: protocol and cipher; or one of them.
---@param field string|nil
---@return table|string|nil
function methods:info(field)
  local version, cipher = core.cosocket_tls_facts(self.number)
  if not version then
    return nil
  end
  local info = { protocol = version, cipher = cipher }
  if field then
    return info[field]
  end
  return info
end

--- What a handshake with a limit of 0 waits for.
---@return "read"|"nothing"
function methods:want()
  return self.is_shaking and not self.has_tls and "read" or "nothing"
end

methods.sslhandshake, methods.connect = nil, nil

return ssl
