-- bridge_spec.lua -- the bridge example's page in a real browser, between the example's two
-- servers: prices that change, and what the page says when one of the servers ends.
--
-- examples/bridge/bridge_spec.lua tests the messages. TIDEWIRE_TEST_SHOTS=FOLDER writes a picture.

local chromium = require "browser.chromium"
local looks = require "browser.looks"
local server = require "support.server"

local FOLDER = require("luv").cwd() .. "/examples/bridge/"

if not chromium.find() then
  describe("the bridge's page", function()
    pending(chromium.missing(), function() end)
  end)
  return
end

describe("the bridge's page", function()
  local exchange, bridge, ada

  local function start(file, port, environment)
    return server.start({
      app_path = FOLDER .. file, listen = { "127.0.0.1:" .. (port or 0) },
      environment = environment,
    })
  end

  local function start_bridge(port)
    return start("app.lua", port, { UPSTREAM = exchange:url("/prices") })
  end

  lazy_setup(function()
    -- its client, the bridge, has no authority for a test's certificate
    exchange = start("exchange.lua", nil, { TIDEWIRE_TLS_CERTIFICATE = "" })
    bridge = start_bridge()
    ada = chromium.start()
  end)
  lazy_teardown(function()
    if ada then ada:stop() end
    bridge:stop()
    exchange:stop()
  end)

  local function is_in(state)
    ada:wait(("document.querySelector('#state').dataset.state === %q"):format(state))
  end

  it("shows prices, and that they are live or not", function()
    ada:open((bridge:url("/"):gsub("^ws", "http")))
    is_in("open")
    ada:wait("document.querySelectorAll('#prices tr').length === 5")
    assert.equal("COPPER GOLD SILVER TIN ZINC", ada:eval([[
      [...document.querySelectorAll("#prices td:first-child")].map((cell) => cell.textContent)
        .join(" ")]]))
    ada:wait("document.querySelector('[data-move=up], [data-move=down]')")
    assert.same({}, looks.nameless(ada))
    for _, scheme in ipairs({ "light", "dark" }) do
      ada:prefer(scheme)
      looks.assert_readable(ada, scheme,
        { "#state", "th", "td", "[data-move=up], [data-move=down]" })
    end
    local shots = os.getenv("TIDEWIRE_TEST_SHOTS")
    if shots then ada:screenshot(shots .. "/bridge.png") end
    exchange:kill()
    is_in("waiting")
    assert.is_truthy(ada:eval("document.querySelector('#state').textContent"):find("exchange"))
    exchange = start("exchange.lua", exchange.addresses[1].port, { TIDEWIRE_TLS_CERTIFICATE = "" })
    is_in("open")
    bridge:kill()
    is_in("waiting")
    bridge = start_bridge(bridge.addresses[1].port)
    is_in("open")
  end)
end)
