-- limits_spec.lua -- the limits example: the limit on connections, messages to rooms by HTTP, and
-- statistics.

local cjson = require "cjson"
local client = require "support.client"
local loop = require "support.loop"
local server = require "support.server"

local PATH = require("luv").cwd() .. "/examples/limits/app.lua"

describe("examples/limits", function()
  local app

  -- One for each of three clients, and one for a plain request.
  before_each(function()
    app = server.start({ app_path = PATH, environment = { MAX_CONNS = "4" } })
  end)
  after_each(function() app:stop() end)

  local function stats() return cjson.decode(app:http("/stats").body) end

  it("refuses a connection above the limit with 503, until one ends", function()
    local ada = app:connect("/garden")
    app:connect("/garden")
    app:connect("/kitchen")
    app:connect("/kitchen")
    local peer, status, headers = client.connect(app:url("/garden"))
    assert.same({ nil, 503 }, { peer, status })
    assert.is_truthy(headers["retry-after"])
    assert.equal(503, app:http("/stats").status) -- a plain request needs a place as well
    ada:close(1000)
    assert.is_truthy(loop.wait_until(function() return (client.connect(app:url("/garden"))) end))
  end)

  it("sends a message to the others in the room", function()
    local ada, bob, carl = app:connect("/garden"), app:connect("/garden"), app:connect("/kitchen")
    ada:send_text("hello")
    assert.equal("hello", (bob:receive()))
    carl:send_text("empty room")
    bob:send_text("hello back")
    assert.equal("hello back", (ada:receive()))
    app:http({ method = "POST", path = "/kitchen", body = "last" })
    assert.equal("last", (carl:receive())) -- and nothing before it
  end)

  it("sends to a room by HTTP, and answers with the number of receivers", function()
    local ada, bob = app:connect("/garden"), app:connect("/garden")
    app:connect("/kitchen")
    local response = app:http({ method = "POST", path = "/garden", body = "to all" })
    assert.same({ told = 2 }, cjson.decode(response.body))
    assert.equal("to all", (ada:receive()))
    assert.equal("to all", (bob:receive()))
    response = app:http({ method = "POST", path = "/empty", body = "to none" })
    assert.same({ told = 0 }, cjson.decode(response.body))
    assert.equal(400, app:http({ method = "POST", path = "/garden", body = "\255" }).status)
  end)

  it("reports the number of connections and the limit", function()
    assert.same({ 0, 4 }, { stats().total_connections, stats().max_connections })
    local ada = app:connect("/garden")
    app:connect("/garden")
    assert.equal(2, stats().total_connections)
    ada:close(1000)
    assert.is_truthy(loop.wait_until(function() return stats().total_connections == 1 end))
  end)

  it("reports a wrong MAX_CONNS", function()
    for value, why in pairs({
      many = "MAX_CONNS must be a number", ["-1"] = "limits.connections",
    }) do
      local result = server.run({ "check", PATH }, { environment = { MAX_CONNS = value } })
      assert.equal(2, result.code)
      assert.is_truthy(result.stderr:find(why, 1, true), result.stderr)
    end
  end)
end)
