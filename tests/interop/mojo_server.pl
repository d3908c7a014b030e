# mojo_server.pl -- an echo server made with Perl's Mojolicious, for connect_spec.lua. It does what
# servers.py says.
use Mojolicious::Lite -signatures;
use Mojo::IOLoop;
use Mojo::Server::Daemon;
use Mojo::WebSocket qw(WS_PING WS_PONG WS_TEXT WS_CONTINUATION);
use Mojo::Util qw(decode encode);

my $host = $ARGV[0] // '127.0.0.1';

websocket '/*any' => {any => ''} => sub ($c) {
  my $tx = $c->tx->max_websocket_size(1 << 22);
  $tx->with_protocols('echo.v1');
  my $request = $c->req;
  $tx->on(frame => sub ($tx, $frame) { $tx->send('pong came') if $frame->[4] == WS_PONG });
  $tx->on(finish => sub ($tx, $code, $reason = '') {
    print 'closed ', $code, ' ', encode('UTF-8', $reason // ''), "\n";
  });
  $tx->on(binary => sub ($tx, $bytes) { $tx->send({binary => $bytes}) });
  $tx->on(text => sub ($tx, $bytes) {
    if ($bytes eq 'ping') {
      $tx->send([1, 0, 0, 0, WS_PING, 'are you there']);
    } elsif ($bytes eq 'fragments') {
      $tx->send([0, 0, 0, 0, WS_TEXT, 'one ']);
      $tx->send([0, 0, 0, 0, WS_CONTINUATION, 'two ']);
      $tx->send([1, 0, 0, 0, WS_CONTINUATION, 'three']);
    } elsif ($bytes eq 'request') {
      my $headers = $request->headers;
      my $test = $headers->header('X-Test') // '-';
      $tx->send(join ' ', $request->url->path_query, $test, $headers->host);
    } elsif ($bytes =~ /^close (\d+) (.*)$/) {
      $tx->finish($1 => decode('UTF-8', $2));
    } else {
      $tx->send([1, 0, 0, 0, WS_TEXT, $bytes]);
    }
  });
  $c->rendered(101);
};

my $url = 'http://' . ($host =~ /:/ ? "[$host]" : $host) . ':0';
my $daemon = Mojo::Server::Daemon->new(app => app, listen => [$url], silent => 1);
app->log->level('fatal');
$daemon->start;
$| = 1;
print $daemon->ports->[0], "\n";
Mojo::IOLoop->start;
