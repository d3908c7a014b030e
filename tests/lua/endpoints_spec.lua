-- endpoints_spec.lua -- the settings that C gets for each endpoint when the app is activated.

local fake_app = require "support.fake_app"

local world

before_each(function() world = fake_app:install() end)
after_each(function() world:uninstall() end)

--- The settings that C gets for a handler.
local function settings_of(handler)
  world:serve(handler)
  return world.endpoints[#world.endpoints]
end

local function nothing() end

describe("an endpoint", function()
  it("has the documented limits and periods by default", function()
    local settings = settings_of { handle_message = nothing }
    assert.same({ 30, 300, 1 << 20, 1 << 20, "frame", "close" }, {
      settings.ping_period, settings.pong_period, settings.max_message_size, settings.max_backlog,
      settings.heartbeat, settings.slow_client,
    })
    assert.same({ 300, 1 << 20 }, { settings.message_timeout, settings.max_fragments })
    assert.is_nil(settings.max_connections)
  end)

  it("has those of its handler", function()
    local settings = settings_of {
      ping_period = 0.5, pong_period = 2, max_message_size = 100, max_backlog = "2K",
      max_connections = 7, heartbeat = "json", slow_client = "drop",
    }
    assert.same({ 0.5, 2, 100, 2048, 7, "json", "drop" }, {
      settings.ping_period, settings.pong_period, settings.max_message_size, settings.max_backlog,
      settings.max_connections, settings.heartbeat, settings.slow_client,
    })
  end)

  it("has those of the app's defaults where its handler has none", function()
    world:serve {
      defaults = { ping_period = 5, max_backlog = 1000 },
      endpoints = { ["/a"] = { ping_period = 1 }, ["/b"] = {} },
    }
    assert.same({ 1, 1000 }, { world.endpoints[1].ping_period, world.endpoints[1].max_backlog })
    assert.same({ 5, 1000 }, { world.endpoints[2].ping_period, world.endpoints[2].max_backlog })
  end)

  it("is asked for the hooks that it has, and no others", function()
    local flags = { has_message = "handle_message", has_ping = "send_ping",
      has_timeout = "on_timeout", has_drain = "on_drain" }
    for flag, hook in pairs(flags) do
      local settings = settings_of { [hook] = nothing }
      for other in pairs(flags) do
        assert.equal(other == flag, settings[other])
      end
    end
  end)

  it("without handle_message still gets messages where they must be read", function()
    assert.is_false(settings_of({}).has_message)
    assert.is_true(settings_of({ codec = "json" }).has_message)
    assert.is_true(settings_of({ heartbeat = "json" }).has_message)
    assert.is_true(settings_of({ codec = { decode = nothing, encode = nothing } }).has_message)
  end)

  it("has its name as JSON, for the heartbeat", function()
    assert.equal('"/*"', settings_of({}).json_name)
    assert.equal('"the \\"lobby\\""', settings_of({ name = 'the "lobby"' }).json_name)
    world:serve { endpoints = { ["/game/:room"] = {} } }
    assert.equal('"/game/:room"', world.endpoints[#world.endpoints].json_name)
  end)

  it("shares its codec's number with endpoints of the same codec name", function()
    local own = { decode = nothing, encode = nothing }
    world:serve {
      endpoints = {
        ["/1"] = {}, ["/2"] = { codec = "text" }, ["/3"] = { codec = "json" },
        ["/4"] = { codec = own }, ["/5"] = { codec = own },
        ["/6"] = { codec = { decode = nothing, encode = nothing } }, ["/7"] = { codec = "binary" },
      },
    }
    local numbers, names = {}, {}
    for i, settings in ipairs(world.endpoints) do
      assert.equal("integer", math.type(settings.codec))
      names[settings.codec] = (names[settings.codec] or "") .. i
    end
    for _, name in pairs(names) do
      table.insert(numbers, name)
    end
    table.sort(numbers)
    assert.same({ "12", "3", "4", "5", "6", "7" }, numbers)
    assert.same({ "text", "custom:/4" },
      { world.endpoints[1].codec_name, world.endpoints[4].codec_name })
  end)
end)
