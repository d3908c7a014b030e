-- chat_spec.lua -- the chat example in two real browsers: its page, and the server between them.
--
-- examples/chat/chat_spec.lua tests the server's part of each message. TIDEWIRE_TEST_SHOTS=FOLDER
-- writes pictures of the page into the folder.

local chromium = require "browser.chromium"
local cjson = require "cjson"
local client = require "support.client"
local link = require "support.link"
local looks = require "browser.looks"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"

local PATH = require("luv").cwd() .. "/examples/chat/app.lua"

if not chromium.find() then
  describe("the chat's page", function()
    pending(chromium.missing(), function() end)
  end)
  return
end

describe("the chat's page", function()
  local app, ada, bob, folder
  -- servers whose end is checked last: a check closes all streams of the test, the browsers' too
  local ended = {}

  local function start(address, ...)
    return server.start({
      app_path = PATH, listen = { address }, options = { "--pid-file", folder .. "/pid", ... },
    })
  end
  local function page_url() return app:url("/"):gsub("^ws", "http") end

  lazy_setup(function()
    folder = process.make_directory()
    app = start("127.0.0.1:0")
    ada, bob = chromium.start(), chromium.start()
  end)

  lazy_teardown(function()
    if ada then ada:stop() end
    if bob then bob:stop() end
    ended[#ended + 1] = app
    for _, each in ipairs(ended) do each:stop() end
    process.remove_directory(folder)
  end)

  -- Each test begins with an empty room, and with browsers without stored data.
  before_each(function()
    ada:reset()
    bob:reset()
    local watcher, deadline, count = app:connect("/chat"), loop.now() + loop.patience, nil
    repeat
      local message = cjson.decode((watcher:ask('{"type":"server_stats"}')))
      count = message.total_clients or count
      assert(loop.now() < deadline, "a user stays")
    until count == 1
    watcher:close(1000)
  end)

  after_each(function()
    assert.same({ {}, {} }, { ada.problems, bob.problems })
  end)

  -- What the log shows, line by line: "ada: hello", "> hello" for one's own, "bob left" for a
  -- notice.
  local LINES = [[ [...document.querySelectorAll("#log > li")].map((line) => {
    if (line.classList.contains("notice")) return line.textContent;
    const words = line.querySelector(".words").textContent;
    return (line.classList.contains("own") ? "> " : line.dataset.author + ": ") + words;
  }) ]]
  local PEOPLE = [[ [...document.querySelectorAll("#people bdi")].map((name) => name.textContent) ]]

  local function json_list(list) return #list == 0 and "[]" or cjson.encode(list) end

  local function waits_for(browser, list, expected)
    browser:wait(("JSON.stringify(%s) === JSON.stringify(%s)"):format(list, json_list(expected)))
  end

  -- The log shows exactly these lines, and nothing waits for the server any more.
  local function shows(browser, lines)
    waits_for(browser, LINES, lines)
    browser:wait("!document.querySelector('.waiting')")
  end

  -- The same in any order.
  local function is_like(browser, lines)
    browser:wait(("JSON.stringify(%s.sort()) === JSON.stringify(%s.sort())")
      :format(LINES, cjson.encode(lines)))
    browser:wait("!document.querySelector('.waiting')")
  end

  local function lists(browser, people) waits_for(browser, PEOPLE, people) end

  local function is_in(browser, state)
    browser:wait(("document.querySelector('#state').dataset.state === %q"):format(state))
  end

  -- Opens the page as a new user, and submits its first card.
  local function join(browser, name, room)
    browser:open(page_url())
    browser:type("#name", name):type("#first-room", room):click("#join-form button")
    browser:wait(("document.querySelector('#room').textContent === %q"):format(room))
    is_in(browser, "open")
  end

  -- Both in one new room.
  local function join_both(room)
    join(ada, "ada", room)
    lists(ada, { "ada" })
    join(bob, "bob", room)
    lists(ada, { "ada", "bob" })
    lists(bob, { "ada", "bob" })
    shows(ada, { "bob joined" })
  end

  local function say(browser, text) browser:type("#text", text):press("Enter") end

  it("lets two people talk", function()
    join_both("talk")
    say(ada, "hello, bob")
    shows(bob, { "ada: hello, bob" })
    say(bob, "hello, ada")
    bob:type("#text", "how are you?"):click("#send")
    shows(ada, { "bob joined", "> hello, bob", "bob: hello, ada", "bob: how are you?" })
    shows(bob, { "ada: hello, bob", "> hello, ada", "> how are you?" })
    assert.equal("bob",
      ada:eval("document.querySelector('.message:not(.own) .author').textContent"))
  end)

  it("shows the names of people that type, until they send or stop", function()
    join_both("typing")
    bob:type("#text", "hm")
    ada:wait("document.querySelector('#typing').textContent === 'bob is typing'")
    bob:press("Enter")
    shows(ada, { "bob joined", "bob: hm" })
    ada:wait("document.querySelector('#typing').textContent === ''")
    bob:type("#text", "no")
    ada:wait("document.querySelector('#typing').textContent === 'bob is typing'")
    bob:type("#text", "")
    bob:eval("document.querySelector('#text').dispatchEvent(new Event('input'))")
    ada:wait("document.querySelector('#typing').textContent === ''")
  end)

  it("shows markup as the text it is", function()
    join_both("markup")
    local evil =
      [[<img src=x onerror="alert('message')"><script>alert(1)</script><b>bold</b> &amp; ]]
    say(bob, evil .. "1")
    shows(ada, { "bob joined", "bob: " .. evil .. "1" })
    assert.equal(0, ada:eval("document.querySelectorAll('#log img, #log script, #log b').length"))
    -- A client without the page: the server refuses such names, but another server
    -- might.
    ada:eval([[document.title = ""]])
    local carl <const> = assert(client.connect(app:url("/chat?username=carl&room=markup")))
    carl:send_text(cjson.encode({ type = "chat", message = evil .. "2" }))
    shows(ada, { "bob joined", "bob: " .. evil .. "1", "carl joined", "carl: " .. evil .. "2" })
    ada:open(page_url() .. "?again") -- and from the history
    shows(ada, { "bob: " .. evil .. "1", "carl: " .. evil .. "2" })
    carl:close(1000)
  end)

  it("goes from room to room, each with its people and its history", function()
    join_both("hall")
    say(ada, "in the hall")
    shows(bob, { "ada: in the hall" })
    bob:type("#room-name", "tower"):press("Enter")
    bob:wait("document.querySelector('#room').textContent === 'tower'")
    shows(bob, {})
    lists(bob, { "bob" })
    shows(ada, { "bob joined", "> in the hall", "bob left" })
    lists(ada, { "ada" })
    say(bob, "up here")
    ada:type("#room-name", "tower"):press("Enter")
    shows(ada, { "bob: up here" })
    lists(ada, { "ada", "bob" })
    shows(bob, { "> up here", "ada joined" })
    ada:eval("[...document.querySelectorAll('#rooms button')].find((b) => b.textContent === "
      .. "'#hall').click()")
    shows(ada, { "> in the hall" })
    ada:type("#room-name", "no blanks"):press("Enter")
    ada:wait("document.querySelector('#room-error').textContent.includes('no blanks')")
    assert.equal("hall", ada:eval("document.querySelector('#room').textContent"))
  end)

  it("comes back when the server does, with nothing lost and nothing twice", function()
    join_both("phoenix")
    say(ada, "before")
    shows(bob, { "ada: before" })
    local port = app.addresses[1].port
    app:signal("sigterm")
    assert.equal(0, app.process:wait_exit())
    is_in(ada, "waiting")
    is_in(bob, "waiting")
    say(bob, "meanwhile")
    assert.is_true(
      bob:eval("document.querySelector('.waiting .words').textContent === 'meanwhile'"))
    ended[#ended + 1] = app
    app = start("127.0.0.1:" .. port)
    for _, browser in ipairs({ ada, bob }) do
      is_in(browser, "open")
      lists(browser, { "ada", "bob" })
      assert.is_true(browser:eval("document.querySelector('#banner').hidden"))
    end
    say(ada, "after")
    -- (bob's "meanwhile" may have come back later than ada)
    is_like(ada, { "bob joined", "> before", "bob: meanwhile", "> after" })
    is_like(bob, { "ada: before", "> meanwhile", "ada: after" })
  end)

  -- The banner's texts from now on.
  local SAID = [[
    window.said = [];
    new MutationObserver(() => said.push(document.querySelector("#banner-text").textContent))
      .observe(document.querySelector("#banner-text"),
        { childList: true, characterData: true, subtree: true });
  ]]

  it("reconnects after an upgrade, and says that the server was restarted", function()
    join_both("upgrade")
    say(ada, "before")
    shows(bob, { "ada: before" })
    for _, browser in ipairs({ ada, bob }) do browser:eval(SAID) end
    local old = app
    ended[#ended + 1] = old
    app = start("127.0.0.1:" .. old.addresses[1].port, "--upgrade")
    for _, browser in ipairs({ ada, bob }) do
      browser:wait("said.some((words) => words.startsWith('The server is being restarted.'))")
      assert.is_false(
        browser:eval("said.some((words) => words.startsWith('The connection is lost.'))"))
      is_in(browser, "open")
      lists(browser, { "ada", "bob" })
      browser:wait("document.querySelector('#banner').hidden")
    end
    assert.equal(0, old.process:wait_exit())
    say(ada, "after")
    say(bob, "after, too")
    is_like(ada, { "bob joined", "> before", "> after", "bob: after, too" })
    is_like(bob, { "ada: before", "ada: after", "> after, too" })
  end)

  it("shows that it reconnects, and loses no line while its network is away", function()
    join(bob, "bob", "tunnel")
    local path <close> = link.start(app.addresses[1])
    ada:open((page_url():gsub(":%d+/", ":" .. path.port .. "/")))
    ada:type("#name", "ada"):type("#first-room", "tunnel"):click("#join-form button")
    is_in(ada, "open")
    lists(bob, { "ada", "bob" })
    say(ada, "before")
    shows(bob, { "ada joined", "ada: before" })
    for round = 1, 2 do
      path:cut("reset")
      path:switch(false)
      ada:wait("document.querySelector('#state').textContent === 'reconnecting…'")
      ada:wait("document.querySelector('#banner-text').textContent.includes('Reconnecting')")
      say(ada, "mine " .. round)
      say(bob, "yours " .. round)
      path:cut("reset") -- attempts that hang
      path:switch(true)
      ada:eval("document.querySelector('#banner-button').click()") -- "Try now"
      is_in(ada, "open")
    end
    is_like(ada, { "> before", "> mine 1", "bob: yours 1", "> mine 2", "bob: yours 2" })
    -- nobody has seen ada leave
    shows(bob, {
      "ada joined", "ada: before", "> yours 1", "ada: mine 1", "> yours 2", "ada: mine 2",
    })
    assert.is_true(ada:eval("document.querySelector('#banner').hidden"))
    ada:click("#leave")
  end)

  it("is the same person after the page is loaded again", function()
    join_both("reload")
    say(ada, "before")
    shows(bob, { "ada: before" })
    for round = 1, 3 do
      ada:open(page_url() .. "?round=" .. round)
      is_in(ada, "open")
      lists(ada, { "ada", "bob" })
    end
    shows(ada, { "> before" })
    say(ada, "after")
    shows(bob, {
      "ada: before", "ada left", "ada joined", "ada left", "ada joined", "ada left", "ada joined",
      "ada: after",
    })
    lists(bob, { "ada", "bob" })
  end)

  it("is not there while the browser keeps the page for the way back", function()
    join_both("put-away")
    ada:eval("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    lists(bob, { "bob" })
    ada:eval("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    lists(bob, { "ada", "bob" })
    is_in(ada, "open")
    say(ada, "back")
    is_like(bob, { "ada left", "ada joined", "ada: back" })
  end)

  it("gives way to another window of the same person, and comes back when asked to", function()
    join_both("windows")
    say(ada, "before")
    say(bob, "before, too")
    shows(ada, { "bob joined", "> before", "bob: before, too" })
    local ticket = ada:eval("JSON.parse(sessionStorage.getItem('chat')).ticket")
    local other = assert(client.connect(app:url("/chat?username=ada&ticket=" .. ticket)))
    is_in(ada, "taken")
    assert.equal("This chat goes on in another window.",
      ada:eval("document.querySelector('#banner-text').textContent"))
    ada:click("#banner-button")
    is_in(ada, "open")
    assert.equal(4001, (other:wait_closed()))
    say(ada, "here again")
    -- though the history came again
    shows(ada, { "bob joined", "> before", "bob: before, too", "> here again" })
    -- and no notice of leaving or joining
    shows(bob, { "ada: before", "> before, too", "ada: here again" })
    lists(bob, { "ada", "bob" })
  end)

  it("says that a name is taken, and checks the form's fields", function()
    join(ada, "ada", "names")
    join(bob, "ada", "names")
    bob:wait("/^ada_[0-9]+$/.test(document.querySelector('#my-name').textContent)")
    bob:wait("document.querySelector('#log .notice').textContent.includes('“ada” is taken')")
    bob:click("#leave")
    bob:wait("!document.querySelector('#join').hidden")
    lists(ada, { "ada" })
    bob:type("#name", "ada l."):press("Enter")
    bob:wait("document.querySelector('#join-error').textContent.includes('no blanks')")
    assert.is_true(bob:eval("document.querySelector('#chat').hidden"))
  end)

  it("fits a phone, and has its rooms and people in a menu there", function()
    join_both("phone")
    say(bob, ("a-long-word-without-a-blank"):rep(8))
    say(ada, "short")
    ada:wait("document.querySelectorAll('#log .message').length === 2")
    for _, width in ipairs({ 360, 320 }) do
      ada:resize(width, 640)
      ada:wait("innerWidth === " .. width)
      assert.equal(width, ada:eval("document.documentElement.scrollWidth"))
      ada:wait("document.querySelector('#side').inert") -- a listener sets it after the resize
      local box = ada:eval("document.querySelector('#send').getBoundingClientRect().toJSON()")
      assert.is_true(box.right <= width and box.bottom <= 640)
    end
    ada:click("#menu")
    ada:wait("document.querySelector('#side').getBoundingClientRect().left === 0")
    assert.same({}, looks.nameless(ada))
    ada:press("Escape")
    assert.equal("menu", ada:eval("document.activeElement.id"))
    ada:wait("document.querySelector('#side').getBoundingClientRect().right <= 0")
    ada:click("#menu")
    ada:wait("document.querySelector('#side').getBoundingClientRect().left === 0")
    ada:type("#room-name", "pocket"):press("Enter")
    ada:wait("document.querySelector('#room').textContent === 'pocket'")
    assert.is_true(ada:eval("document.querySelector('#side').inert"))
    ada:resize(1280, 800)
    ada:wait("!document.querySelector('#side').inert")
    assert.same({}, looks.nameless(ada))
  end)

  it("can be read in light and in dark", function()
    join_both("colours")
    say(bob, "good morning")
    say(ada, "good night")
    shows(ada, { "bob joined", "bob: good morning", "> good night" })
    local grounds = {}
    for _, scheme in ipairs({ "light", "dark" }) do
      ada:prefer(scheme)
      grounds[scheme] = ada:eval("getComputedStyle(document.body).backgroundColor")
      looks.assert_readable(ada, scheme, {
        ".own .words", ".message:not(.own) .words", ".message:not(.own) .author", ".time",
        ".notice", "#room", "#here", "#state", "#stats", "#people bdi", "#people .avatar",
        "#rooms button", "#send", "#leave",
      })
    end
    assert.is_not.equal(grounds.light, grounds.dark)
    ada:prefer("light")
  end)

  local shots = os.getenv("TIDEWIRE_TEST_SHOTS")
  if shots then
    it("has its picture taken", function()
      join_both("pictures")
      say(bob, "Good morning! Has anyone seen the figures from last night?")
      say(bob, "I left them on the table in the garden room.")
      say(ada, "Yes, I have them here.")
      say(ada, "Better than last week: fewer errors, and the slowest is half as slow. I will write "
        .. "it up before noon.")
      say(bob, "<b>wonderful</b>")
      ada:wait("document.querySelectorAll('#log .message').length === 5 && "
        .. "!document.querySelector('.waiting')")
      bob:type("#text", "and")
      ada:wait("document.querySelector('#typing').textContent !== ''")
      for _, scheme in ipairs({ "light", "dark" }) do
        ada:prefer(scheme)
        for _, size in ipairs({ { 1280, 800 }, { 360, 740 } }) do
          ada:resize(size[1], size[2])
          loop.pass(0.3) -- what glides has arrived
          ada:screenshot(("%s/chat-%s-%d.png"):format(shots, scheme, size[1]))
        end
        ada:click("#menu")
        loop.pass(0.3)
        ada:screenshot(("%s/chat-%s-menu.png"):format(shots, scheme))
        ada:press("Escape")
      end
    end)
  end
end)
