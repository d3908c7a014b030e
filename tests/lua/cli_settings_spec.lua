-- cli_settings_spec.lua -- options of `tidewire talk`. tests/unit/test_settings.c has the others.

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
    local good, message = pcall(settings.read, { "a.lua", "--insecure" }, function() end)
    assert.same({ false, "--insecure is an option of tidewire talk URL" }, { good, message })
  end)
end)
