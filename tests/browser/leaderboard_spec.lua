-- leaderboard_spec.lua -- the leaderboard example's page in a real browser, with PostgreSQL and
-- Redis: the list changes by itself, and what the page says of a score.
--
-- examples/leaderboard/leaderboard_spec.lua tests the messages. TIDEWIRE_TEST_SHOTS=FOLDER writes a
-- picture.

local chromium = require "browser.chromium"
local looks = require "browser.looks"
local postgres = require "support.postgres"
local redis_server = require "support.redis"
local server = require "support.server"

local FOLDER = require("luv").cwd() .. "/examples/leaderboard/"

local function missing()
  if not chromium.find() then return chromium.missing() end
  local service = postgres.missing() or redis_server.missing()
  return service and service .. ": nothing of this is tried here"
end

if missing() then
  describe("the leaderboard's page", function()
    pending(missing(), function() end)
  end)
  return
end

describe("the leaderboard's page", function()
  local app, database, redis, ada, bob

  lazy_setup(function()
    database, redis = postgres.start(), redis_server.start()
    app = server.start({
      app_path = FOLDER .. "app.lua",
      environment = { DATABASE_URL = database.url, REDIS_URL = redis.url },
    })
    ada, bob = chromium.start(), chromium.start()
    for _, browser in ipairs({ ada, bob }) do
      browser:open((app:url("/"):gsub("^ws", "http")))
      browser:wait("document.querySelector('#state').dataset.state === 'open'")
    end
  end)
  lazy_teardown(function()
    if ada then ada:stop() end
    if bob then bob:stop() end
    app:stop()
    database:stop()
    redis:stop()
  end)

  local function save(browser, player, points)
    browser:eval(("document.querySelector('#player').value = %q"):format(player))
    browser:eval(("document.querySelector('#points').value = %d"):format(points))
    browser:click("#save")
  end

  local function wait_for_list(browser, expected)
    browser:wait(([=[[...document.querySelectorAll("#top td")].map((cell) => cell.textContent)
      .join(" ") === %q]=]):format(expected))
  end

  local function wait_for_answer(browser, expected)
    browser:wait(("document.querySelector('#answer').textContent === %q"):format(expected))
  end

  it("shows each change of the list, and the answer to a score", function()
    save(ada, "ada <b>", 1200)
    wait_for_answer(ada, "ada <b>'s best score is 1,200.")
    wait_for_list(bob, "ada <b> 1,200")
    save(bob, "bob", 1300)
    wait_for_list(ada, "bob 1,300 ada <b> 1,200")
    ada:wait("document.querySelectorAll('[data-changed]').length === 1")
    assert.same({}, looks.nameless(ada))
    for _, scheme in ipairs({ "light", "dark" }) do
      ada:prefer(scheme)
      looks.assert_readable(ada, scheme, { "#state", "th", "td", "[data-changed] td", "#save" })
    end
    local shots = os.getenv("TIDEWIRE_TEST_SHOTS")
    if shots then ada:screenshot(shots .. "/leaderboard.png") end
  end)

  it("says that a score is not saved while the database is down", function()
    database:kill()
    save(ada, "ada <b>", 1500)
    wait_for_answer(ada, "not saved: the database cannot be reached")
    for _, scheme in ipairs({ "light", "dark" }) do
      ada:prefer(scheme)
      looks.assert_readable(ada, scheme, { "#answer" })
    end
    database:start()
    save(ada, "ada <b>", 1500)
    wait_for_answer(ada, "ada <b>'s best score is 1,500.")
    wait_for_list(bob, "ada <b> 1,500 bob 1,300")
  end)
end)
