-- welcome_spec.lua -- the page of `scripts/run` talks to the handler, and shows its new answer as
-- soon as the handler's file is saved.
--
-- TIDEWIRE_TEST_SHOTS=FOLDER writes pictures of the page into the folder.

local chromium = require "browser.chromium"
local looks = require "browser.looks"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"

if not chromium.find() then
  describe("the first page", function()
    pending(chromium.missing(), function() end)
  end)
  return
end

describe("the first page", function()
  local app, ada, folder, path, original

  -- The handler is edited, so the examples are copied.
  lazy_setup(function()
    folder = process.make_directory()
    assert(os.execute(("cp -r examples docs '%s'"):format(folder)))
    path = folder .. "/examples/welcome/handler.lua"
    original = process.read_file(path)
    app =
      server.start({ app_path = folder .. "/examples/welcome/app.lua", options = { "--watch" } })
    ada = chromium.start()
  end)

  lazy_teardown(function()
    if ada then ada:stop() end
    if app then app:stop() end
    process.remove_directory(folder)
  end)

  local function page_url(rest) return app:url(rest or "/"):gsub("^ws", "http") end

  local function generation()
    return ada:eval("document.querySelector('#generation').textContent")
  end

  -- As editors do: another file takes the place of the old one.
  local function save(text)
    process.write_file(path .. ".new", text)
    assert(os.rename(path .. ".new", path))
  end

  local function open()
    ada:reset():open(page_url())
    ada:wait("document.querySelector('#state').dataset.state === 'open'")
    ada:wait("document.querySelectorAll('#source li').length > 3")
  end

  local function say(text) ada:type("#text", text):press("Enter") end

  -- The last answer, without its time.
  local function has_answer(text)
    ada:wait(("[...document.querySelectorAll('#log .answer')].at(-1).firstChild.data === %q")
      :format(text))
  end

  before_each(function()
    if process.read_file(path) ~= original then
      open()
      local before = generation()
      save(original)
      ada:wait(("document.querySelector('#generation').textContent !== %q"):format(before))
    end
    open()
  end)
  after_each(function() assert.same({}, ada.problems) end)

  it("shows what runs, and talks to it", function()
    local shown =
      ada:eval("[...document.querySelectorAll('#source li')].map((line) => line.textContent)")
    assert.equal(original, table.concat(shown, "\n") .. "\n")
    assert.equal(path, ada:eval("document.querySelector('#path').textContent"))
    say("hello <b>wörld</b>")
    has_answer("hello <b>wörld</b>")
    ada:type("#text", "again"):click("#send")
    has_answer("again")
  end)

  it("has the new answer as soon as the file is saved, on the same connection", function()
    say("hello")
    has_answer("hello")
    ada:eval([[(() => {
      globalThis.states = [];
      const state = document.querySelector("#state");
      new MutationObserver(() => states.push(state.dataset.state))
        .observe(state, { attributes: true });
    })()]])
    save((original:gsub("send%(message", "send(message:upper()")))
    has_answer("HELLO")
    ada:wait("document.querySelector('#source .changed').textContent.includes('message:upper()')")
    ada:wait("document.querySelector('#news').textContent.includes('was activated')")
    assert.equal(0, ada:eval("states.length"))
  end)

  it("says where the mistake is, and goes on with the code before it", function()
    local before = generation()
    save((original:gsub("  end,\n", "", 1)))
    ada:wait("document.querySelector('#news.bad').textContent.includes('Not loaded')")
    ada:wait("document.querySelector('#source .wrong')")
    assert.equal(before, generation())
    say("still here")
    has_answer("still here")
    save("-- mended\n" .. original)
    ada:wait("document.querySelector('#news.good')")
    has_answer("still here")
  end)

  it("says that new code was not activated where the mistake is another one", function()
    save((original:gsub("handle_message", "handle_mesage")))
    ada:wait("document.querySelector('#news.bad').textContent.includes('the terminal says why')")
    say("still here")
    has_answer("still here")
  end)

  it("says that a message has no answer where the handler fails", function()
    say("hello")
    save((original:gsub("conn:send.-\n", 'error("on purpose")\n')))
    ada:wait("document.querySelector('#log .trouble').textContent.includes('closed with 1011')")
    ada:wait("document.querySelector('#state').dataset.state === 'open'")
  end)

  it("leads to the chat, the game and the documentation", function()
    for _, place in ipairs({ "chat", "game" }) do
      open()
      ada:click(("a[href='%s/']"):format(place))
      ada:wait(("location.pathname === '/%s/' && document.readyState === 'complete'"):format(place))
    end
    ada:type("#name", "ada"):press("Enter")
    ada:wait("document.querySelector('#state').dataset.state === 'open'")
    ada:reset():open(page_url("/chat/"))
    ada:type("#name", "ada"):press("Enter")
    ada:wait("document.querySelector('#state').dataset.state === 'open'")
    open()
    local links =
      ada:eval("[...document.querySelectorAll('.links a')].map((a) => a.getAttribute('href'))")
    assert.equal(4, #links)
    for _, link in ipairs(links) do
      open()
      ada:click(("a[href='%s']"):format(link)):wait("document.querySelector('#page h1')")
    end
  end)

  it("fits a phone, has names for all, and can be read in light and in dark", function()
    say(("a-long-word-without-a-blank"):rep(8))
    save((original:gsub("send%(message", "send(message:upper()")))
    ada:wait("document.querySelector('#log .fresh')")
    assert.same({}, looks.nameless(ada))
    local grounds = {}
    for _, scheme in ipairs({ "light", "dark" }) do
      ada:prefer(scheme)
      grounds[scheme] = ada:eval("getComputedStyle(document.body).backgroundColor")
      looks.assert_readable(ada, scheme, {
        ".lead", "#state", "#path", "#generation", "#news", "#source .comment", "#source .keyword",
        "#source .changed", "#ideas code", "#ideas button", "#url", "#log .own", "#log .answer",
        "#log .time", "#log .turn", ".go .quiet", ".links a", ".links .quiet", "#commands code",
      })
      for _, width in ipairs({ 360, 320 }) do
        ada:resize(width, 640)
        ada:wait("innerWidth === " .. width)
        assert.equal(width, ada:eval("document.documentElement.scrollWidth"))
      end
      ada:resize(1280, 800)
    end
    assert.is_not.equal(grounds.light, grounds.dark)
    ada:prefer("light")
  end)

  local shots = os.getenv("TIDEWIRE_TEST_SHOTS")
  if shots then
    it("has its picture taken", function()
      say("Hello, is anyone there?")
      has_answer("Hello, is anyone there?")
      local function shoot(name)
        for _, scheme in ipairs({ "light", "dark" }) do
          ada:prefer(scheme)
          for _, size in ipairs({ { 1280, 1080 }, { 360, 740 } }) do
            ada:resize(size[1], size[2])
            loop.pass(1.5) -- what glows has faded
            ada:screenshot(("%s/welcome-%s-%s-%d.png"):format(shots, name, scheme, size[1]))
            if size[1] == 360 then
              ada:resize(360, 2200)
              loop.pass(0.3)
              ada:screenshot(("%s/welcome-%s-%s-long.png"):format(shots, name, scheme))
            end
          end
        end
        ada:resize(1280, 800)
      end
      shoot("first")
      save((original:gsub("send%(message", "send(message:upper()")))
      ada:wait("document.querySelector('#log .fresh')")
      shoot("changed")
      save((original:gsub("  end,\n", "", 1)))
      ada:wait("document.querySelector('#source .wrong')")
      shoot("wrong")
    end)
  end
end)
