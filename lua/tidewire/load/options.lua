-- options.lua -- the lists of all hooks, options, limits and settings, and the check of a table
-- against a list.
--
-- The lists below declare each option once: its name, its type (option_types.lua), its default and
-- its environment variable. To add an option, add a line, and describe it in docs/configuration.md.
-- A check collects all problems instead of stopping at the first. Runs while an app loads; knows
-- nothing of files, lines or the strengths of sources (app.lua does).

local option_types = require "tidewire.load.option_types"
local suggest = require "tidewire.base.suggest"

---@class tidewire.OptionSpec
---@field name string
---@field type string       a name of option_types
---@field default any       nil: not set
---@field env string|nil    the name of its environment variable after "TIDEWIRE_"
---@field group string|nil  of type "group": the list its table is checked against

local options = {}

local KIB, MIB = 1 << 10, 1 << 20

--- What a handler may have, hooks first, in the order of a connection's life.
---@type tidewire.OptionSpec[]
local handler = {
  { name = "validate", type = "hook" },
  { name = "on_start", type = "hook" },
  { name = "handle_message", type = "hook" },
  { name = "send_ping", type = "hook" },
  { name = "on_timeout", type = "hook" },
  { name = "on_error", type = "hook" },
  { name = "on_drain", type = "hook" },
  { name = "on_reload", type = "hook" },
  { name = "on_disconnect", type = "hook" },
  { name = "on_resume", type = "hook" },
  { name = "on_close", type = "hook" },

  { name = "codec", type = "codec", default = "text" },
  { name = "ping_period", type = "seconds", default = 30, env = "PING_PERIOD" },
  { name = "pong_period", type = "seconds", default = 300, env = "PONG_PERIOD" },
  { name = "heartbeat", type = "choice", choices = { "frame", "json" }, default = "frame",
    env = "HEARTBEAT" },
  { name = "name", type = "text" }, -- its default is the endpoint's path
  { name = "max_connections", type = "count" },
  { name = "user", type = "user" },
  { name = "user_connections", type = "count" },
  { name = "user_limit", type = "choice", choices = { "refuse", "replace" }, default = "refuse",
    env = "USER_LIMIT" },
  { name = "max_message_size", type = "size", min = 1, max = (1 << 31) - 1, default = MIB,
    env = "MAX_MESSAGE_SIZE" },
  { name = "max_fragments", type = "count", default = MIB, env = "MAX_FRAGMENTS" },
  { name = "message_timeout", type = "seconds", default = 300, env = "MESSAGE_TIMEOUT" },
  { name = "max_backlog", type = "size", min = 1, max = 1 << 40, default = MIB,
    env = "MAX_BACKLOG" },
  { name = "slow_client", type = "choice", choices = { "close", "drop", "conflate" },
    default = "close", env = "SLOW_CLIENT" },
  { name = "rate", type = "rate", unit = "messages", bytes = true, actions = true, env = "RATE" },
  { name = "control_rate", type = "rate", unit = "frames",
    default = { frames = 100, per = 1, burst = 1000 }, env = "CONTROL_RATE" },
  { name = "origins", type = "origins", env = "ORIGINS" },
  { name = "require_origin", type = "boolean", default = false, env = "REQUIRE_ORIGIN" },
  { name = "subprotocols", type = "subprotocols", env = "SUBPROTOCOLS" },
  { name = "compression", type = "compression", env = "COMPRESSION" },
  { name = "resume", type = "resume", env = "RESUME" },
  { name = "handler_timeout", type = "seconds", positive = true, default = 1,
    env = "HANDLER_TIMEOUT" },
}

--- What an app may have.
---@type tidewire.OptionSpec[]
local app = {
  { name = "listen", type = "addresses", default = { "127.0.0.1:8080" }, env = "LISTEN" },
  { name = "workers", type = "workers", default = 1, env = "WORKERS" },
  { name = "tls", type = "group", group = "tls" },
  { name = "defaults", type = "group", group = "handler" },
  { name = "endpoints", type = "table" },
  { name = "http", type = "table" },
  { name = "rooms", type = "table" },
  { name = "limits", type = "group", group = "limits" },
  { name = "admin", type = "address", env = "ADMIN" },
  { name = "admin_hosts", type = "hosts", env = "ADMIN_HOSTS" },
  { name = "trusted_proxies", type = "trusted_proxies", env = "TRUSTED_PROXIES" },
  { name = "forwarded_header", type = "choice", choices = { "X-Forwarded-For", "Forwarded" },
    env = "FORWARDED_HEADER" },
  { name = "proxy_protocol", type = "boolean", default = false, env = "PROXY_PROTOCOL" },
  { name = "state", type = "file", env = "STATE" },
  { name = "cluster", type = "cluster", env = "CLUSTER" },
  { name = "removed_endpoints", type = "choice", choices = { "keep", "close" }, default = "keep" },
  { name = "on_load", type = "hook" },
  { name = "on_reload", type = "hook" },
  { name = "on_stop", type = "hook" },
}

--- The server's limits.
---@type tidewire.OptionSpec[]
local limits = {
  { name = "connections", type = "count", default = 10000, env = "LIMITS_CONNECTIONS" },
  { name = "per_address", type = "count", env = "LIMITS_PER_ADDRESS" },
  { name = "connection_rate", type = "rate", unit = "connections", env = "LIMITS_CONNECTION_RATE" },
  { name = "request_rate", type = "rate", unit = "requests", env = "LIMITS_REQUEST_RATE" },
  { name = "tls_handshake_rate", type = "rate", unit = "handshakes",
    env = "LIMITS_TLS_HANDSHAKE_RATE" },
  { name = "handshake_seconds", type = "seconds", positive = true, default = 5,
    env = "LIMITS_HANDSHAKE_SECONDS" },
  { name = "half_closed_seconds", type = "seconds", positive = true, default = 30,
    env = "LIMITS_HALF_CLOSED_SECONDS" },
  { name = "keep_alive_seconds", type = "seconds", default = 75,
    env = "LIMITS_KEEP_ALIVE_SECONDS" },
  { name = "keep_alive_requests", type = "count", default = 1000,
    env = "LIMITS_KEEP_ALIVE_REQUESTS" },
  { name = "header_bytes", type = "size", min = 512, max = MIB, default = 16 * KIB,
    env = "LIMITS_HEADER_BYTES" },
  { name = "backlog", type = "size", min = MIB, max = 1 << 40, default = 256 * MIB,
    env = "LIMITS_BACKLOG" },
  { name = "receive_backlog", type = "size", min = 64 * KIB, max = 1 << 40, default = 64 * MIB,
    env = "LIMITS_RECEIVE_BACKLOG" },
  { name = "upload_backlog", type = "size", min = MIB, max = 1 << 40, default = 64 * MIB,
    env = "LIMITS_UPLOAD_BACKLOG" },
  { name = "upload_backlog_per_address", type = "size", min = MIB, max = 1 << 40,
    default = 16 * MIB, env = "LIMITS_UPLOAD_BACKLOG_PER_ADDRESS" },
  { name = "response_backlog", type = "size", min = MIB, max = 1 << 40, default = 256 * MIB,
    env = "LIMITS_RESPONSE_BACKLOG" },
  { name = "response_backlog_per_address", type = "size", min = MIB, max = 1 << 40,
    default = 128 * MIB, env = "LIMITS_RESPONSE_BACKLOG_PER_ADDRESS" },
  { name = "send_timeout", type = "seconds", positive = true, default = 30,
    env = "LIMITS_SEND_TIMEOUT" },
  { name = "min_send_rate", type = "size", min = 0, max = 1 << 30, default = KIB,
    env = "LIMITS_MIN_SEND_RATE" },
  { name = "worker_backlog", type = "size", min = 64 * KIB, max = 1 << 40, default = 64 * MIB,
    env = "LIMITS_WORKER_BACKLOG" },
  { name = "cluster_backlog", type = "size", min = 64 * KIB, max = 1 << 40, default = 64 * MIB,
    env = "LIMITS_CLUSTER_BACKLOG" },
  { name = "cluster_members", type = "size", min = 64 * KIB, max = 1 << 40, default = 256 * MIB,
    env = "LIMITS_CLUSTER_MEMBERS" },
  { name = "room_memory", type = "size", min = 64 * KIB, max = 1 << 40, default = 64 * MIB,
    env = "LIMITS_ROOM_MEMORY" },
  { name = "outgoing_sockets", type = "count", default = 1000, env = "LIMITS_OUTGOING_SOCKETS" },
  { name = "memory", type = "size", min = 4 * MIB, max = 1 << 40, env = "LIMITS_MEMORY" },
  { name = "processes", type = "count", default = 32, env = "LIMITS_PROCESSES" },
  { name = "load_timeout", type = "seconds", positive = true, default = 5,
    env = "LIMITS_LOAD_TIMEOUT" },
}

---@type tidewire.OptionSpec[]
local tls = {
  { name = "certificate", type = "text", env = "TLS_CERTIFICATE" },
  { name = "key", type = "text", env = "TLS_KEY" },
  { name = "ocsp", type = "text" },
  { name = "names", type = "server_names" },
  { name = "certificates", type = "table" },
  { name = "unknown_names", type = "choice", choices = { "default", "refuse" },
    default = "default" },
  { name = "client_ca", type = "text" },
  { name = "client_verify", type = "choice", choices = { "require", "optional" } },
  { name = "min_version", type = "choice", choices = { "1.2", "1.3" }, default = "1.2" },
  { name = "ciphers", type = "text" },
  { name = "cipher_suites", type = "text" },
}

--- What an entry of `tls.certificates` may have.
---@type tidewire.OptionSpec[]
local tls_certificate = {
  { name = "certificate", type = "text" },
  { name = "key", type = "text" },
  { name = "ocsp", type = "text" },
  { name = "names", type = "server_names" },
}

--- What the table of a static HTTP route may have.
---@type tidewire.OptionSpec[]
local static = {
  { name = "static", type = "text" },
}

options.lists = {
  handler = handler, app = app, limits = limits, tls = tls, tls_certificate = tls_certificate,
  static = static,
}

-- Names of other servers that are spelt too differently for suggest.lua.
local elsewhere = {
  on_message = "handle_message", on_open = "on_start", on_connect = "on_start",
  on_reconnect = "on_resume", max_payload = "max_message_size", protocols = "subprotocols",
  allowed_origins = "origins", port = "listen", host = "listen", address = "listen",
  routes = "endpoints", handlers = "endpoints", rate_limit = "rate", limit_rate = "rate",
  limit_req = "request_rate", limit_conn = "per_address", set_real_ip_from = "trusted_proxies",
  real_ip_header = "forwarded_header", input = "stdin", environment = "env",
  max_buffer = "max_output", redis = "cluster", adapter = "cluster",
}

local by_name = {} -- list name -> option name -> spec
local candidates = {} -- list name -> what a misspelt name is compared with
local function index(list_name, list)
  by_name[list_name], candidates[list_name] = {}, {}
  for i, spec in ipairs(list) do
    by_name[list_name][spec.name] = spec
    candidates[list_name][i] = spec.name
  end
  for foreign, ours in pairs(elsewhere) do
    if by_name[list_name][ours] then
      table.insert(candidates[list_name], foreign)
    end
  end
end

for list_name, list in pairs(options.lists) do
  index(list_name, list)
end

--- Adds a list of another module, for options.check: the options of a function.
---@param list_name string
---@param list tidewire.OptionSpec[]
function options.declare(list_name, list)
  index(list_name, list)
end

--- One option's declaration.
---@param list_name "handler"|"app"|"limits"|"tls"|"tls_certificate"|"static"
---@param name any
---@return tidewire.OptionSpec|nil
function options.spec(list_name, name)
  return by_name[list_name][name]
end

--- A problem: its place, as keys from the checked table on, and its message.
---@class tidewire.Problem
---@field path any[]
---@field message string

---@class tidewire.Findings
---@field problems tidewire.Problem[]
---@field warnings tidewire.Problem[]

local function add(list, path, message)
  list[#list + 1] = { path = path, message = message }
end

local function extended(path, key)
  local longer = { table.unpack(path) }
  longer[#longer + 1] = key
  return longer
end

--- The message about a key that the list does not have.
local function unknown(list_name, key, is_bare)
  if type(key) ~= "string" then
    return ("[%s]: options have names; this one has none"):format(tostring(key))
  elseif list_name == "handler" and by_name.app[key] and is_bare then
    return ('`%s` belongs to an app; put the handler under endpoints = { ["/*"] = … }'):format(key)
  elseif list_name == "handler" and by_name.app[key] then
    return ("`%s` belongs to the app, not to a handler"):format(key)
  elseif list_name == "app" and by_name.handler[key] then
    local place = by_name.handler[key].type == "hook" and "a handler under `endpoints`"
      or "a handler under `endpoints`, or to `defaults`"
    return ("`%s` belongs to %s"):format(key, place)
  end
  local nearest = suggest.nearest(key, candidates[list_name])
  nearest = nearest and (by_name[list_name][nearest] and nearest or elsewhere[nearest])
  local hint = nearest and ('; did you mean "%s"?'):format(nearest) or ""
  return ("unknown option %s%s"):format(option_types.quote(key), hint)
end

--- What the program knows and this library cannot. The functions return true, or nil and the
--- problem of an address, of a proxy, of a Redis server's URL, or of the options of TLS with its
--- option and certificate.
---@class tidewire.Facts
---@field check_address nil|fun(text: string): any, string|nil
---@field check_trusted_proxy nil|fun(text: string): any, string|nil
---@field check_cluster_url nil|fun(text: string): any, string|nil
---@field check_tls nil|fun(options: tidewire.AppTls): any, string|nil, string|nil, integer|nil
---@field is_bare boolean|nil  the handler is the whole script, without an app around it

local function judge(spec, value, facts, expected, got)
  local ok, result = option_types.types[spec.type].check(value, spec, facts or {})
  if ok then
    return true, result
  elseif result ~= nil then
    return false, type(result) == "table" and result or { result }
  end
  local hint = spec.choices and suggest.hint(value, spec.choices) or ""
  return false, { ("expected %s, got %s%s"):format(expected, got, hint) }
end

--- Checks one value.
---@param spec tidewire.OptionSpec
---@param value any
---@param facts tidewire.Facts|nil
---@return boolean ok
---@return any value_or_messages  the normal value, or a list of messages without the option's name
function options.check_value(spec, value, facts)
  local expected = option_types.types[spec.type].expected(spec)
  return judge(spec, value, facts, expected, option_types.describe(value))
end

--- Checks one value given as text, in the environment or on the command line.
---@param spec tidewire.OptionSpec
---@param text string
---@param facts tidewire.Facts|nil
---@return boolean ok
---@return any value_or_messages  as options.check_value
function options.check_text(spec, text, facts)
  local kind = option_types.types[spec.type]
  local expected, got = kind.expected_text or kind.expected(spec), option_types.quote(text)
  local value = kind.from_text(text)
  if value == nil then
    return false, { ("expected %s, got %s"):format(expected, got) }
  end
  return judge(spec, value, facts, expected, got)
end

--- `x = production and {...}` gives false in development: for hooks and for options without a
--- default, false means "not set".
local function may_be_false(spec)
  return spec.default == nil and spec.type ~= "text"
end

local check_table

local function check_option(spec, list_name, value, before, path, findings, facts)
  local shown = before .. spec.name
  if value == false and may_be_false(spec) then
    return false
  end
  local ok, result = options.check_value(spec, value, facts)
  if not ok then
    for _, message in ipairs(result) do
      add(findings.problems, path, ("%s: %s"):format(shown, message))
    end
    return nil
  end
  if spec.group then
    return check_table(spec.group, result, spec.name .. ".", path, findings, facts)
  end
  return result
end

--- The table's own keys, and the options it inherits through a metatable (a handler may have a base
--- class).
local function keys_of(list_name, values)
  local keys = {}
  for key in pairs(values) do
    keys[#keys + 1] = key
  end
  if getmetatable(values) then
    for _, spec in ipairs(options.lists[list_name]) do
      if rawget(values, spec.name) == nil and values[spec.name] ~= nil then
        keys[#keys + 1] = spec.name
      end
    end
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  return keys
end

function check_table(list_name, values, before, path, findings, facts)
  local checked = {}
  for _, key in ipairs(keys_of(list_name, values)) do
    local spec = by_name[list_name][key]
    local key_path = extended(path, key)
    if spec then
      checked[key] = check_option(spec, list_name, values[key], before, key_path, findings, facts)
    else
      add(findings.problems, key_path,
        before:gsub("%.$", ": ") .. unknown(list_name, key, facts and facts.is_bare))
    end
  end
  return checked
end

--- Checks a table against a list of options.
---@param list_name "handler"|"app"|"limits"|"tls"|"tls_certificate"|"static"
---@param values table
---@param before string         stands before an option's name: "", "limits.", 'endpoint "/": '
---@param path any[]            the table's place, the beginning of each problem's path
---@param facts tidewire.Facts|nil
---@return table checked        normal values of what is there and right; false: explicitly not set
---@return tidewire.Findings findings
function options.check(list_name, values, before, path, facts)
  local findings = { problems = {}, warnings = {} }
  return check_table(list_name, values, before, path, findings, facts), findings
end

--- The effective values of a list: of the strongest source that has a value, else the default. An
--- option that a source explicitly does not set (false) is nil. Hooks are left out.
---@param list_name "handler"|"app"|"limits"
---@param sources table[]  checked tables, the strongest first
---@return table<string, any>
function options.merge(list_name, sources)
  local merged = {}
  for _, spec in ipairs(options.lists[list_name]) do
    if spec.type ~= "hook" and spec.type ~= "group" then
      merged[spec.name] = options.effective(spec, sources)
    end
  end
  return merged
end

--- One option's effective value.
---@param spec tidewire.OptionSpec
---@param sources table[]
---@return any
function options.effective(spec, sources)
  for _, source in ipairs(sources) do
    local value = source[spec.name]
    if value == false and may_be_false(spec) then
      return nil
    elseif value ~= nil then
      return value
    end
  end
  return spec.default
end

return options
