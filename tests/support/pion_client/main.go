// A third-party WHEP client: Pion, the WebRTC stack of MediaMTX, go2rtc and LiveKit.
//
//	pion_client URL POLICY SECTION...
//
// The policy is balanced, max-compat or max-bundle; a section is audio, video or data, which comes last in the offer. It
// speaks on standard output, one JSON object a line: first {"status", "offer", "answer"}, then every second
// {"kinds": {"video": {"packets", "mime"}}, "keyframes"}. It leaves with DELETE when standard input ends.
package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

const reportInterval = 200 * time.Millisecond

type media struct {
	Packets int    `json:"packets"`
	Mime    string `json:"mime"`
}

type report struct {
	sync.Mutex
	Kinds     map[string]*media `json:"kinds"`
	Keyframes int               `json:"keyframes"`
	State     string            `json:"state"`
}

func main() {
	endpoint := os.Args[1]
	engine := &webrtc.MediaEngine{}
	must(engine.RegisterDefaultCodecs())
	interceptors := &interceptor.Registry{}
	must(webrtc.RegisterDefaultInterceptors(engine, interceptors))
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	api := webrtc.NewAPI(
		webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(interceptors), webrtc.WithSettingEngine(settings),
	)
	policy := map[string]webrtc.BundlePolicy{
		"balanced": webrtc.BundlePolicyBalanced, "max-compat": webrtc.BundlePolicyMaxCompat,
		"max-bundle": webrtc.BundlePolicyMaxBundle,
	}
	peer, err := api.NewPeerConnection(webrtc.Configuration{BundlePolicy: policy[os.Args[2]]})
	must(err)
	seen := &report{Kinds: map[string]*media{}}
	peer.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { seen.watch(track) })
	peer.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		seen.Lock()
		defer seen.Unlock()
		seen.State = state.String()
	})
	for _, section := range os.Args[3:] {
		if section == "data" {
			_, err = peer.CreateDataChannel("x", nil)
		} else {
			init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
			_, err = peer.AddTransceiverFromKind(webrtc.NewRTPCodecType(section), init)
		}
		must(err)
	}
	resource := join(peer, endpoint)
	go func() {
		for range time.Tick(reportInterval) {
			seen.Lock()
			say(seen)
			seen.Unlock()
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	request, err := http.NewRequest(http.MethodDelete, resource, nil)
	must(err)
	_, err = http.DefaultClient.Do(request)
	must(err)
	must(peer.Close())
}

func join(peer *webrtc.PeerConnection, endpoint string) string {
	offer, err := peer.CreateOffer(nil)
	must(err)
	gathered := webrtc.GatheringCompletePromise(peer)
	must(peer.SetLocalDescription(offer))
	<-gathered
	text := peer.LocalDescription().SDP
	reply, err := http.Post(endpoint, "application/sdp", strings.NewReader(text))
	must(err)
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	must(err)
	say(map[string]any{"status": reply.StatusCode, "offer": text, "answer": string(body)})
	must(peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(body)}))
	base, err := url.Parse(endpoint)
	must(err)
	resource, err := base.Parse(reply.Header.Get("Location"))
	must(err)
	return resource.String()
}

// watch counts the packets of a track, and the random access pictures of video, whose codec may change.
func (seen *report) watch(track *webrtc.TrackRemote) {
	kind := track.Kind().String()
	isKeyframe := map[string]func(*rtp.Packet) bool{
		webrtc.MimeTypeH264: hasIdr(&codecs.H264Packet{}),
		webrtc.MimeTypeH265: hasIrap(&codecs.H265Depacketizer{}),
	}
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		mime := track.Codec().MimeType
		seen.Lock()
		if seen.Kinds[kind] == nil {
			seen.Kinds[kind] = &media{}
		}
		seen.Kinds[kind].Mime = mime
		seen.Kinds[kind].Packets++
		if kind == "video" && isKeyframe[mime](packet) {
			seen.Keyframes++
		}
		seen.Unlock()
	}
}

func hasIdr(depacketizer *codecs.H264Packet) func(*rtp.Packet) bool {
	return func(packet *rtp.Packet) bool {
		unit, err := depacketizer.Unmarshal(packet.Payload)
		return err == nil && len(unit) > 4 && unit[4]&0x1f == 5
	}
}

// hasIrap: whether a NAL unit of types 16 to 23 is complete with this packet, and parameter sets of all kinds came.
func hasIrap(depacketizer *codecs.H265Depacketizer) func(*rtp.Packet) bool {
	sets := map[byte]bool{}
	return func(packet *rtp.Packet) bool {
		units, err := depacketizer.Unmarshal(packet.Payload)
		if err != nil {
			return false
		}
		found := false
		for _, unit := range bytes.Split(units, []byte{0, 0, 0, 1}) {
			if len(unit) == 0 {
				continue
			}
			kind := unit[0] >> 1 & 0x3f
			if kind >= 32 && kind <= 34 {
				sets[kind] = true
			}
			found = found || kind >= 16 && kind <= 23
		}
		return found && len(sets) == 3
	}
}

func say(message any) {
	must(json.NewEncoder(os.Stdout).Encode(message))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
