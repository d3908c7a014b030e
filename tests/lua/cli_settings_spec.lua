-- cli_settings_spec.lua -- options of `tidewire talk` and `tidewire cluster check`.
-- tests/unit/test_settings.c has the others.

local settings = require "tidewire.cli.settings"

local function read(...)
  return settings.read({ "talk", "localhost", ... }, function() end)
end

local function refused(pattern, ...)
  local good, message = pcall(read, ...)
  assert.is_false(good)
  assert.is_truthy(message:find(pattern, 1, true), message)
end

describe("the options of talk", function()
  it("are fields of the result", function()
    local result = read("--header", "X-A: b", "--header=X-A:", "--subprotocol", "v1.chat",
      "--insecure", "--wait", "2.5")
    assert.same({ "X-A: b", "X-A:" }, result.header)
    assert.same({ "v1.chat" }, result.subprotocol)
    assert.same({ true, 2.5 }, { result.insecure, result.wait })
    assert.same({ "talk", "localhost" }, { result.action, result.target })
    assert.is_nil(read().wait)
  end)

  it("have headers that the handshake does not send itself", function()
    for _, line in ipairs({ "", ": b", "X A: b", "X-A" }) do
      refused('--header "' .. line .. '": expected "Name: value"', "--header", line)
    end
    for _, line in ipairs({ "X-A: b\r\n", "X-A: b\x7f" }) do
      refused("a header cannot have a line end", "--header", line)
    end
    for _, line in ipairs({ "upgrade: h2c", "Content-Length: 1" }) do
      refused("the handshake sets this header itself", "--header", line)
    end
  end)

  it("have subprotocols that are tokens", function()
    refused('--subprotocol: expected the name of a subprotocol, such as v1.chat', "--subprotocol",
      "a b")
    refused("expected the name", "--subprotocol=")
  end)

  it("are refused for the server, and the server's for talk", function()
    refused("--workers is an option of the server, not of tidewire talk", "--workers", "2")
    refused("--json is an option of tidewire cluster check URL, not of tidewire talk", "--json")
    local good, message = pcall(settings.read, { "a.lua", "--insecure" }, function() end)
    assert.same({ false, "--insecure is an option of tidewire talk URL" }, { good, message })
  end)
end)

describe("cluster check", function()
  local function check(...)
    return settings.read({ "cluster", ... }, function() end)
  end

  local function fails(pattern, ...)
    local good, message = pcall(check, ...)
    assert.is_false(good)
    assert.is_truthy(message:find(pattern, 1, true), message)
  end

  it("takes URLs, a prefix and --json", function()
    local result = check("check", "redis://a", "--prefix", "chat:1", "redis://b", "--json")
    assert.same({ "cluster", { "redis://a", "redis://b" }, "chat:1", true },
      { result.action, result.urls, result.prefix, result.json })
  end)

  it("says what is missing or wrong", function()
    fails("cluster needs a verb: tidewire cluster check redis://HOST:PORT")
    fails('cluster needs a verb, not "redis://…@h"', "redis://u:secret@h")
    fails("cluster check needs a URL", "check")
    fails("--prefix: expected letters", "check", "redis://a", "--prefix", "a b")
    fails("--workers is an option of the server, not of tidewire cluster", "check", "redis://a",
      "--workers", "2")
  end)
end)
