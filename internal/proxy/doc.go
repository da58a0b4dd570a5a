// Package proxy scores weights and architectures without training.
//
// The proxy of PreNAS is saliency: one forward and backward pass of the
// supernet at initialisation gives each weight w a gradient g, and |w·g| says
// how much the output would change if the weight were gone. The pass needs
// neither labels nor data: the loss is the plain sum of the logits and the
// batch is noise. What is summed up from these gradients, and how it chooses
// architectures, is pkg/search.
//
// A Scorer measures single architectures with other proxies, each on the
// architecture's own passes: Names lists them. They do not add up over
// slices, so the search asks them about a shortlist only. The tests hold each
// against its formula in NumPy, with autograd's gradients, in float64.
package proxy
