-- options_spec.lua -- the check of a handler's and an app's tables, and settings from the
-- environment.

local limits = require "support.default_limits"
local environment = require "tidewire.load.environment"
local options = require "tidewire.load.options"

local function messages_of(list)
  local messages = {}
  for i, item in ipairs(list) do
    messages[i] = item.message
  end
  return messages
end

local function problems(list_name, values, facts)
  local _, findings = options.check(list_name, values, "", {}, facts)
  return messages_of(findings.problems)
end

local function problem(list_name, values, facts)
  local messages = problems(list_name, values, facts)
  assert.equal(1, #messages, table.concat(messages, "\n"))
  return messages[1]
end

local function checked(list_name, values)
  local result, findings = options.check(list_name, values, "", {})
  assert.same({}, messages_of(findings.problems))
  return result
end

local function nothing() end

describe("a handler's table", function()
  it("may be empty", function()
    assert.same({}, checked("handler", {}))
  end)

  it("may have every hook", function()
    for _, hook in ipairs { "validate", "on_start", "handle_message", "send_ping", "on_timeout",
      "on_error", "on_drain",
      "on_reload", "on_close" } do
      assert.equal(nothing, checked("handler", { [hook] = nothing })[hook])
      assert.equal(hook .. ": expected a function, got table", problem("handler", { [hook] = {} }))
    end
  end)

  it("reports misspelt names", function()
    assert.equal('unknown option "ping_perod"; did you mean "ping_period"?',
      problem("handler", { ping_perod = 1 }))
    assert.equal('unknown option "on_mesage"; did you mean "handle_message"?',
      problem("handler", { on_mesage = nothing }))
    assert.equal('unknown option "on_message"; did you mean "handle_message"?',
      problem("handler", { on_message = nothing }))
    assert.equal('unknown option "zebra"', problem("handler", { zebra = 1 }))
    assert.matches("options have names", problem("handler", { nothing }))
  end)

  it("reports all problems at once, in the order of the names", function()
    assert.same({
      'codec: there is no codec "jsn"; did you mean "json"?',
      'ping_period: expected a number of seconds, 0 or more, got string "30"',
      'unknown option "pong_perod"; did you mean "pong_period"?',
    }, problems("handler", { pong_perod = 1, ping_period = "30", codec = "jsn" }))
  end)

  it("reports an app's option in the wrong place", function()
    assert.equal("`listen` belongs to the app, not to a handler",
      problem("handler", { listen = ":1" }))
  end)

  it("may inherit from another", function()
    local base = { on_start = nothing, ping_period = 5, not_an_option = 1 }
    base.__index = base
    local values = checked("handler", setmetatable({ ping_period = 6 }, base))
    assert.same({ on_start = nothing, ping_period = 6 }, values)
    assert.matches("^pong_period: ",
      problem("handler", setmetatable({}, { __index = { pong_period = "x" } })))
  end)

  it("may have false for an option without a default", function()
    assert.same({
      on_close = false, origins = false, max_connections = false, compression = false, rate = false,
    },
      checked("handler",
        {
          on_close = false, origins = false, max_connections = false, compression = false,
          rate = false,
        }))
    assert.matches("^ping_period: .*got false$", problem("handler", { ping_period = false }))
  end)
end)

describe("a time", function()
  it("is a number of seconds", function()
    for _, seconds in ipairs { 0, 1, 0.1, 0.001, 86400 } do
      assert.equal(seconds, checked("handler", { ping_period = seconds }).ping_period)
    end
    for got, value in pairs { ["-1"] = -1, ["true"] = true, table = {}, ['string "x"'] = "x" } do
      assert.equal("pong_period: expected a number of seconds, 0 or more, got " .. got,
        problem("handler", { pong_period = value }))
    end
    assert.matches("0 or more, got %-?nan$", problem("handler", { ping_period = 0 / 0 }))
    assert.matches("too many; 0 stands for never", problem("handler", { ping_period = math.huge }))
    assert.matches("too few", problem("handler", { ping_period = 1e-6 }))
  end)

  it("must be more than 0 where 0 would mean nothing", function()
    assert.equal("handshake_seconds: expected a number of seconds, more than 0, got 0",
      problem("limits", { handshake_seconds = 0 }))
  end)
end)

describe("a size", function()
  it("is a number of bytes, or a text with a unit", function()
    for size, value in pairs { [1] = 1, [65536] = 2.0 ^ 16, [1024] = "1024", [262144] = "256K",
      [1048576] = "1m",
      [1 << 30] = "1GiB", [2097152] = "2 MB" } do
      local result = checked("handler", { max_message_size = value }).max_message_size
      assert.equal(size, result)
      assert.equal("integer", math.type(result))
    end
    for _, value in ipairs { 0, -1, 1.5, "", "1T", "K", "1.5M", "-1K", "0", 1 << 40, "4G",
      "1e3", true,
      "99999999999999999999", "17179869185G", "999999999999G" } do
      assert.matches('^max_message_size: expected a size in bytes from 1 to 2147483647, or a text '
        .. 'such as .*, got ',
        problem("handler", { max_message_size = value }))
    end
  end)
end)

describe("compression", function()
  local function compression(value)
    return checked("handler", { compression = value }).compression
  end

  it("is switched on and off, or has fields", function()
    local usual = { threshold = 1024, level = 4, context = false }
    assert.same(usual, compression(true))
    assert.same(usual, compression({}))
    assert.same({ threshold = 0, level = 1, context = true },
      compression { threshold = 0, level = 1, context = true })
    assert.same({ threshold = 2048, level = 9, context = false },
      compression { threshold = "2K", level = 9.0 })
    assert.is_false(compression(false))
  end)

  it("has no other fields, and no other values in them", function()
    local function of(value) return problem("handler", { compression = value }) end
    assert.equal('compression: there is no treshold; did you mean "threshold"?',
      of { treshold = 1 })
    assert.equal("compression: there is no 1", of { 1 })
    for _, level in ipairs { 0, 10, 1.5, "6", true } do
      assert.matches(
        "^compression: level: expected an integer from 1 %(fast%) to 9 %(small%), got ",
        of { level = level })
    end
    for _, threshold in ipairs { -1, 1.5, "x", {} } do
      assert.matches("^compression: threshold: expected a size in bytes from 0 to ",
        of { threshold = threshold })
    end
    assert.matches("^compression: context: expected true or false, got ", of { context = 1 })
    assert.matches("^compression: expected true, false or { threshold", of "on")
    assert.matches("^compression: expected true, false or { threshold", of(6))
  end)

  it("is read from the environment", function()
    local spec = options.spec("handler", "compression")
    local ok, value = options.check_text(spec, "yes")
    assert.same({ true, 1024 }, { ok, value.threshold })
    assert.same({ true, false }, { options.check_text(spec, "0") })
    assert.same({ true, { threshold = 2048, level = 3, context = true } },
      { options.check_text(spec, "threshold=2K level=3,context=true") })
    for _, text in ipairs { "6", "level", "level=3 level=4", "=3", "context=maybe", "level=x" } do
      assert.is_false((options.check_text(spec, text)))
    end
  end)
end)

describe("a count", function()
  it("is a whole number, 1 or more", function()
    assert.equal("integer",
      math.type(checked("handler", { max_connections = 10.0 }).max_connections))
    for _, value in ipairs { 0, -1, 1.5, "10", {} } do
      assert.matches("^connections: expected a whole number, 1 or more, got ",
        problem("limits", { connections = value }))
    end
    assert.matches("too many", problem("limits", { connections = 1 << 40 }))
  end)
end)

describe("a choice", function()
  it("is one of its words", function()
    assert.equal("json", checked("handler", { heartbeat = "json" }).heartbeat)
    assert.equal('heartbeat: expected "frame" or "json", got string "jsn"; did you mean "json"?',
      problem("handler", { heartbeat = "jsn" }))
    assert.equal('slow_client: expected "close" or "drop" or "conflate", got true',
      problem("handler", { slow_client = true }))
  end)
end)

describe("a codec", function()
  it("is a name or two functions", function()
    local own = { decode = nothing, encode = nothing }
    for _, codec in ipairs { "text", "binary", "json", own } do
      assert.equal(codec, checked("handler", { codec = codec }).codec)
    end
    assert.equal('codec: there is no codec "xml"', problem("handler", { codec = "xml" }))
    assert.same({ "codec: a codec of your own needs encode, a function; got nil" },
      problems("handler", { codec = { decode = nothing } }))
    assert.same({
      'codec: a codec has no field "encod"; did you mean "encode"?',
      "codec: a codec of your own needs decode, a function; got 1",
      "codec: a codec of your own needs encode, a function; got nil",
    }, problems("handler", { codec = { decode = 1, encod = nothing } }))
    assert.equal('codec: expected "text", "binary", "json" or { decode = function, encode = '
      .. 'function }, got function',
      problem("handler", { codec = nothing }))
  end)
end)

describe("trusted_proxies and admin_hosts", function()
  it("are lists of texts, or one text", function()
    assert.same({ "10.0.0.0/8", "unix" },
      checked("app", { trusted_proxies = { "10.0.0.0/8", "unix" } }).trusted_proxies)
    assert.same({ "::1" }, checked("app", { trusted_proxies = "::1" }).trusted_proxies)
    assert.same({}, checked("app", { trusted_proxies = {} }).trusted_proxies)
    assert.same({ "a.example", "B_2" },
      checked("app", { admin_hosts = { "a.example", "B_2" } }).admin_hosts)
    assert.same({ "*" }, checked("app", { admin_hosts = "*" }).admin_hosts)
  end)

  it("of other values are problems", function()
    assert.matches("^trusted_proxies: expected a list of addresses and networks.*got 7",
      problem("app", { trusted_proxies = 7 }))
    assert.matches("^trusted_proxies: expected a list", problem("app",
      { trusted_proxies = { office = "10.0.0.0/8" } }))
    assert.matches("^trusted_proxies: expected an address, a network.*got true",
      problem("app", { trusted_proxies = { true } }))
    assert.matches('^admin_hosts: "http://a": write the name alone',
      problem("app", { admin_hosts = "http://a" }))
    assert.matches('^admin_hosts: "a:80": write the name without the port',
      problem("app", { admin_hosts = { "a:80" } }))
    assert.matches('^admin_hosts: "a b": this is no host name',
      problem("app", { admin_hosts = { "a b" } }))
    assert.matches('^forwarded_header: expected "X%-Forwarded%-For" or "Forwarded"',
      problem("app", { forwarded_header = "X-Real-IP" }))
  end)
end)

describe("origins and subprotocols", function()
  it("are lists", function()
    assert.same({ "https://a.test" },
      checked("handler", { origins = { "https://a.test" } }).origins)
    assert.equal(nothing, checked("handler", { origins = nothing }).origins)
    assert.matches('^origins: "a.test": an Origin begins with its scheme',
      problem("handler", { origins = { "a.test" } }))
    assert.equal("origins: expected a list of Origins or a function, got 1",
      problem("handler", { origins = 1 }))
    assert.same({ "v2", "v1" }, checked("handler", { subprotocols = { "v2", "v1" } }).subprotocols)
    assert.same({ "v1" }, checked("handler", { subprotocols = "v1" }).subprotocols)
    assert.equal('subprotocols: "v1" comes twice',
      problem("handler", { subprotocols = { "v1", "v1" } }))
    for _, name in ipairs { "a b", "", "a,b", "é", "a/b" } do
      assert.matches("is no subprotocol", problem("handler", { subprotocols = { name } }))
    end
    assert.matches("no place in a list", problem("handler", { subprotocols = { v1 = true } }))
    assert.matches("^subprotocols: expected a list of names",
      problem("handler", { subprotocols = 1 }))
  end)
end)

describe("workers", function()
  it("are a number of threads, or as many as there are processors", function()
    for _, value in ipairs { 1, 128, "auto", 2.0 } do
      assert.same({}, problems("app", { workers = value }))
    end
    for _, value in ipairs { 0, 129, -1, 1.5, "many", "4", 0 / 0, math.huge } do
      local message = problem("app", { workers = value })
      assert.matches('^workers: expected a whole number from 1 to 128, or "auto", got', message)
    end
  end)
end)

describe("limits.memory", function()
  it("is at least what the library needs", function()
    assert.same({}, problems("app", { limits = { memory = "4M" } }))
    assert.equal('limits.memory: expected a size in bytes from 4194304 to 1024G, or a text such as '
      .. '"64K" or "1M", got string "1M"', problem("app", { limits = { memory = "1M" } }))
  end)
end)

describe("an app's table", function()
  it("has its groups checked, with their names in front", function()
    assert.same({
      "defaults.ping_period: expected a number of seconds, 0 or more, got table",
      'defaults: unknown option "ping_perod"; did you mean "ping_period"?',
      'limits: unknown option "conections"; did you mean "connections"?',
      "limits.per_address: expected a whole number, 1 or more, got 0",
    }, problems("app", {
      limits = { conections = 1, per_address = 0 },
      defaults = { ping_perod = 1, ping_period = {} },
    }))
    assert.equal("limits: expected a table, got 7", problem("app", { limits = 7 }))
  end)

  it("reports a handler's option in the wrong place", function()
    assert.equal("`ping_period` belongs to a handler under `endpoints`, or to `defaults`",
      problem("app", { ping_period = 1 }))
    assert.equal("`handle_message` belongs to a handler under `endpoints`",
      problem("app", { handle_message = nothing }))
    assert.equal('unknown option "port"; did you mean "listen"?', problem("app", { port = 1 }))
  end)

  it("names the place of each problem", function()
    local _, findings = options.check("app", { limits = { connections = 0 }, nope = 1 }, "", {})
    assert.same({ { "limits", "connections" }, { "nope" } },
      { findings.problems[1].path, findings.problems[2].path })
  end)

  it("listens on addresses that the program can read", function()
    local facts = {
      check_address = function(text)
        if text == "bad" then
          return nil, 'no address: "bad"'
        end
        return true
      end,
    }
    assert.same({ ":1", "unix:x" }, checked("app", { listen = { ":1", "unix:x" } }).listen)
    assert.same({ ":1" }, checked("app", { listen = ":1" }).listen)
    assert.equal('listen: no address: "bad"', problem("app", { listen = { ":1", "bad" } }, facts))
    assert.equal('admin: no address: "bad"', problem("app", { admin = "bad" }, facts))
    for _, value in ipairs { 8080, {}, { a = "b" }, "" } do
      assert.matches("^listen: expected ", problem("app", { listen = value }, facts))
    end
  end)
end)

describe("effective values", function()
  it("are those of the strongest source, else the default", function()
    local merged = options.merge("handler", {
      { ping_period = 1 },
      { ping_period = 2, pong_period = 3, origins = false, require_origin = false },
      { ping_period = 4, codec = "json", origins = "https://a.test", require_origin = true },
    })
    assert.equal(1, merged.ping_period)
    assert.equal(3, merged.pong_period)
    assert.equal("json", merged.codec)
    assert.is_nil(merged.origins)
    assert.is_false(merged.require_origin)
    assert.equal(1048576, merged.max_backlog)
  end)

  it("are the contract's defaults where nothing is set", function()
    assert.same({
      codec = "text", ping_period = 30, pong_period = 300, heartbeat = "frame",
      max_message_size = 1048576, max_fragments = 1048576, message_timeout = 300,
      max_backlog = 1048576, slow_client = "close", user_limit = "refuse", require_origin = false,
      handler_timeout = 1,
      control_rate = { frames = 100, per = 1, burst = 1000 },
    }, options.merge("handler", {}))
    assert.same(limits({}),
      options.merge("limits", {}))
    assert.same({
      listen = { "127.0.0.1:8080" }, workers = 1, removed_endpoints = "keep",
      proxy_protocol = false,
    }, options.merge("app", {}))
  end)
end)

describe("a rate", function()
  local function rate(value)
    return checked("handler", { rate = value }).rate
  end

  it("has a burst of as much as comes back in `per`, a second, and closes, by default", function()
    assert.same({ messages = 20, per = 1, burst = 20, action = "close" }, rate { messages = 20 })
    assert.same({ bytes = 65536, burst_bytes = 65536, per = 60, action = "drop" },
      rate { bytes = "64K", per = 60, action = "drop" })
    assert.same(
      {
        messages = 20, per = 0.5, burst = 40, bytes = 10, burst_bytes = 1024, action = "pause",
      },
      rate {
        messages = 20, per = 0.5, burst = 40, bytes = 10, burst_bytes = "1K", action = "pause",
      })
  end)

  it("has clear messages for what is none", function()
    for expected, value in pairs {
      ["rate: expected a rate, as in { messages = 20, per = 1, burst = 40 }, got 20"] = 20,
      ["rate: it needs messages or bytes, as in { messages = 20, per = 1, burst = 40 }"] = {},
      ['rate: there is no mesages; did you mean "messages"?'] = { mesages = 1, bytes = 1 },
      ["rate: there is no 1"] = { 20, messages = 1 },
      ["rate: messages: expected a whole number, 1 or more, got 0"] = { messages = 0 },
      ["rate: messages: expected a whole number, 1 or more, got -1"] = { messages = -1 },
      ["rate: messages: expected a whole number, 1 or more, got 1.5"] = { messages = 1.5 },
      ["rate: messages: 10000000000 is too many: the largest number is 2147483647"] =
        { messages = 10000000000 },
      ["rate: per: expected a number of seconds, more than 0, got 0"] = { messages = 1, per = 0 },
      ["rate: per: 1e+18 seconds are too many"] = { messages = 1, per = 1e18 },
      ["rate: burst: expected a whole number, 1 or more, got 0"] = { messages = 1, burst = 0 },
      ["rate: burst has no effect without messages"] = { bytes = 1, burst = 1 },
      ["rate: burst_bytes has no effect without bytes"] = { messages = 1, burst_bytes = 1 },
      ['rate: bytes: expected a size in bytes from 1 to 1024G, or a text such as "64K" or "1M", '
        .. 'got string "lots"'] = { bytes = "lots" },
      ['rate: action: expected "close" or "drop" or "pause", got string "dorp"; did you mean '
        .. '"drop"?'] = { messages = 1, action = "dorp" },
      ['rate: action: expected "close" or "drop" or "pause", got 5'] =
        { messages = 1, action = 5 },
    } do
      assert.equal(expected, problem("handler", { rate = value }))
    end
  end)

  it("is found by the names of other servers", function()
    assert.equal('unknown option "rate_limit"; did you mean "rate"?',
      problem("handler", { rate_limit = {} }))
    assert.equal('unknown option "limit_req"; did you mean "request_rate"?',
      problem("limits", { limit_req = {} }))
  end)

  it("of one address has its own unit, and no action", function()
    assert.same({ connections = 5, per = 1, burst = 5 },
      checked("limits", { connection_rate = { connections = 5 } }).connection_rate)
    assert.equal('request_rate: there is no action',
      problem("limits", { request_rate = { requests = 5, action = "drop" } }))
    assert.equal("connection_rate: it needs connections, as in { connections = 20, per = 1, "
      .. "burst = 40 }", problem("limits", { connection_rate = {} }))
  end)

  it("of control frames can be switched off, by false", function()
    local values = options.merge("handler", { checked("handler", { control_rate = false }) })
    assert.is_false(values.control_rate)
    assert.same({ frames = 5, per = 1, burst = 5 },
      checked("handler", { control_rate = { frames = 5 } }).control_rate)
    assert.equal('control_rate: there is no action',
      problem("handler", { control_rate = { frames = 1, action = "drop" } }))
  end)

  it("comes from the environment as names and values", function()
    local function read(text)
      local settings, findings = environment.read { TIDEWIRE_RATE = text }
      return settings.handler.rate, messages_of(findings.problems)[1]
    end
    assert.same({ messages = 20, per = 2, burst = 40, bytes = 65536, burst_bytes = 65536,
      action = "drop" }, (read "messages=20 per=2,burst=40, bytes=64K action=drop"))
    assert.is_false(read "none")
    for _, text in ipairs { "20", "messages", "messages=1 messages=2", "=", ", ," } do
      assert.equal(
        ('TIDEWIRE_RATE: expected names and values, as in "per=1 burst=40", got "%s"'):format(text),
        select(2, read(text)))
    end
    assert.equal("TIDEWIRE_RATE: messages: expected a whole number, 1 or more, got 0",
      select(2, read "messages=0"))
  end)
end)

describe("the environment", function()
  local function read(environ)
    local settings, findings = environment.read(environ)
    assert.same({}, messages_of(findings.problems))
    return settings
  end

  local function problems_of(environ)
    local _, findings = environment.read(environ)
    return messages_of(findings.problems), messages_of(findings.warnings)
  end

  it("sets the app's, the limits' and all handlers' options", function()
    assert.same({
      app = { listen = { ":1", "unix:/x" }, workers = "auto", admin = "127.0.0.1:9" },
      tls = { certificate = "c.pem", key = "k.pem" },
      limits = { connections = 5, per_address = 6, handshake_seconds = 1.5, header_bytes = 8192 },
      handler = {
        ping_period = 0.5, pong_period = 0, heartbeat = "json", max_message_size = 65536,
        max_backlog = 2097152, slow_client = "drop",
        origins = { "https://a.test", "https://*.b.test" }, require_origin = true,
        subprotocols = { "v2", "v1" },
      },
    }, read {
      TIDEWIRE_LISTEN = ":1, unix:/x,", TIDEWIRE_WORKERS = "auto", TIDEWIRE_ADMIN = "127.0.0.1:9",
      TIDEWIRE_TLS_CERTIFICATE = "c.pem", TIDEWIRE_TLS_KEY = "k.pem",
      TIDEWIRE_LIMITS_CONNECTIONS = "5", TIDEWIRE_LIMITS_PER_ADDRESS = "6",
      TIDEWIRE_LIMITS_HANDSHAKE_SECONDS = "1.5", TIDEWIRE_LIMITS_HEADER_BYTES = "8K",
      TIDEWIRE_PING_PERIOD = "0.5", TIDEWIRE_PONG_PERIOD = "0", TIDEWIRE_HEARTBEAT = "json",
      TIDEWIRE_MAX_MESSAGE_SIZE = "64K", TIDEWIRE_MAX_BACKLOG = "2097152",
      TIDEWIRE_SLOW_CLIENT = "drop", TIDEWIRE_ORIGINS = "https://a.test,https://*.b.test",
      TIDEWIRE_REQUIRE_ORIGIN = "yes", TIDEWIRE_SUBPROTOCOLS = "v2, v1",
    })
  end)

  it("reads truth in six words", function()
    local words = {
      ["true"] = true, YES = true, ["1"] = true, ["false"] = false, no = false, ["0"] = false,
    }
    for word, value in pairs(words) do
      assert.equal(value, read({ TIDEWIRE_REQUIRE_ORIGIN = word }).handler.require_origin)
    end
  end)

  it("knows the short name for the server's connections, the long one being stronger", function()
    assert.equal(5, read({ TIDEWIRE_MAX_CONNECTIONS = "5" }).limits.connections)
    assert.equal(6, read({ TIDEWIRE_MAX_CONNECTIONS = "5",
      TIDEWIRE_LIMITS_CONNECTIONS = "6" }).limits.connections)
  end)

  it("reports invalid values with the variable's name", function()
    for name, case in pairs {
      TIDEWIRE_PING_PERIOD = { "ten", 'expected a number of seconds, 0 or more, got "ten"' },
      TIDEWIRE_PONG_PERIOD = { "-1", 'expected a number of seconds, 0 or more, got "-1"' },
      TIDEWIRE_LIMITS_CONNECTIONS = { "1.5", 'expected a whole number, 1 or more, got "1.5"' },
      TIDEWIRE_REQUIRE_ORIGIN = { "maybe", 'expected true, false, yes, no, 1 or 0, got "maybe"' },
      TIDEWIRE_HEARTBEAT = { "jsn", 'expected "frame" or "json", got "jsn"; did you mean "json"?' },
      TIDEWIRE_SUBPROTOCOLS = { "a,a", '"a" comes twice' },
      TIDEWIRE_WORKERS = { "many", 'expected a whole number from 1 to 128, or "auto", got "many"' },
    } do
      assert.same({ name .. ": " .. case[2] }, (problems_of { [name] = case[1] }))
    end
    for _, value in ipairs { "0x4", "1e1", "-4", "4.5" } do
      assert.matches("^TIDEWIRE_WORKERS: expected a whole number",
        problems_of({ TIDEWIRE_WORKERS = value })[1])
    end
    assert.matches("^TIDEWIRE_ORIGINS: \"a%.test\": an Origin begins",
      problems_of({ TIDEWIRE_ORIGINS = "a.test" })[1])
    assert.same({ 'TIDEWIRE_WORKERS: expected a whole number from 1 to 128, or "auto", got "129"' },
      (problems_of { TIDEWIRE_WORKERS = "129" }))
  end)

  it("is warned of names it does not know, with the nearest", function()
    local bad, unknown = problems_of {
      TIDEWIRE_PING_PEROD = "1", TIDEWIRE_ZEBRA = "1", OTHER = "1",
    }
    assert.same({}, bad)
    assert.same({
      "unknown environment variable TIDEWIRE_PING_PEROD; did you mean TIDEWIRE_PING_PERIOD?",
      "unknown environment variable TIDEWIRE_ZEBRA",
    }, unknown)
  end)

  it("ignores variables of the program, and empty ones", function()
    local environ = {
      TIDEWIRE_PING_PERIOD = "", TIDEWIRE_REQUIRE_ORIGIN = "", TIDEWIRE_TEST_SEED = "1",
    }
    for _, name in ipairs(environment.of_the_program) do
      environ[name] = "x"
    end
    assert.same({ {}, {} }, { problems_of(environ) })
    assert.same({ app = {}, handler = {}, limits = {}, tls = {} }, read(environ))
  end)
end)
